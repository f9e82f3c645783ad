import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { DedupScope } from "../../call/dedup.ts";
import { reasons } from "../../call/reason.ts";
import { formatAnnouncedStore, parseAnnouncedStore, parseServerReason, SERVER_REASONS } from "./dedup-wire.ts";

const SCOPES: readonly DedupScope[] = ["process", "machine", "service"];
const ids = fc.stringMatching(/^[!-~]{1,64}$/);

describe("an announced store", () => {
  it("is read as it was written, whatever printable id it has", () => {
    fc.assert(
      fc.property(ids, fc.constantFrom(...SCOPES), (id, scope) => {
        assert.deepEqual(parseAnnouncedStore(formatAnnouncedStore({ id, scope })), { id, scope });
      }),
    );
  });

  it("is nothing else: of any text, what is read is what would be written", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `${text} service`),
        ),
        (text) => {
          const store = parseAnnouncedStore(text);
          if (store !== undefined) assert.equal(formatAnnouncedStore(store), text);
        },
      ),
    );
    for (const text of [
      "",
      "x",
      "x process ",
      " x process",
      "x galaxy",
      "x\tprocess",
      "x process\n",
      `${"x".repeat(65)} process`,
    ]) {
      assert.equal(parseAnnouncedStore(text), undefined, JSON.stringify(text));
    }
  });

  it("has an id of 1..64 printable characters: another throws, and says what came", () => {
    for (const id of ["", "a b", "é", "x".repeat(65)]) {
      assert.throws(() => formatAnnouncedStore({ id, scope: "process" }), {
        name: "RangeError",
        message: /1\.\.64 printable.*got/,
      });
    }
  });
});

describe("a server's reason", () => {
  it("is one of five; each other word, and each other reason, is nothing", () => {
    for (const reason of SERVER_REASONS) assert.equal(parseServerReason(reason), reason);
    const others = Object.keys(reasons).filter((reason) => !SERVER_REASONS.some((known) => known === reason));
    for (const word of [...others, "", "constructor", "doomed", "DOOMED "])
      assert.equal(parseServerReason(word), undefined);
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { startPair } from "../../test/calls/bench-service.ts";
import { assertFails } from "../../test/calls/failure.ts";
import { DEFAULT_HTTP2_LIMITS } from "../wire/http2/limits.ts";
import { http2LimitsOf } from "./http2-limits.ts";

const KIB = 1_024;

type Entries = Readonly<Record<`x-${number}`, string>>;

/** Sends the entries and gives back what the handler saw of them. */
async function echoed(given: Entries, metadataBytesMax: number | undefined): Promise<Readonly<Record<string, string>>> {
  let seen: Readonly<Record<string, string>> = {};
  await using pair = await startPair(
    {
      add(_, call) {
        seen = Object.fromEntries([...call.metadata].map(([name, value]) => [name, String(value)]));
        return {};
      },
    },
    { server: { limits: { metadataBytesMax } } },
  );
  await pair.client.add({}, { metadata: given });
  return seen;
}

function entries(count: number, bytes: number): Entries {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, String(i).padStart(bytes, "v")]));
}

describe("metadataBytesMax", () => {
  it("is true for one value: 9 KiB of the default 16 KiB", async () => {
    const given = entries(1, 9 * KIB);
    assert.deepEqual(await echoed(given, undefined), given);
  });

  it("is true for many small entries, and for many large ones, at 1 MiB", async () => {
    for (const given of [entries(120, 8), entries(6_000, 8), entries(20, 4 * KIB), entries(1, 1_000 * KIB)]) {
      assert.deepEqual(await echoed(given, 1_024 * KIB), given);
    }
  });

  it("is true close below itself, whatever it is", async () => {
    for (const max of [4 * KIB, 16 * KIB, 64 * KIB, 100_000, 1_024 * KIB]) {
      const given = entries(1, max - 1_500);
      assert.deepEqual(await echoed(given, max), given);
    }
  });

  it("is a limit still: one byte of a value too many fails, and the connection lives on", async () => {
    await using pair = await startPair({}, { server: { limits: { metadataBytesMax: 64 * KIB } } });
    await assertFails(pair.client.add({}, { metadata: { "x-0": "v".repeat(64 * KIB) } }), "RESOURCE_EXHAUSTED");
    assert.equal((await pair.client.add({ a: 1 })).result, 1);
  });

  it("never closes what the defaults leave open", () => {
    const limits = http2LimitsOf({ metadataBytesMax: KIB, streamsPerConnectionMax: undefined }, false);
    assert.deepEqual(limits, { ...DEFAULT_HTTP2_LIMITS, listBytesMax: KIB });
  });
});

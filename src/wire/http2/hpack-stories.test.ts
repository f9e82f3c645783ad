import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { FieldNames, FieldSection } from "./field.ts";
import { HpackDecoder } from "./hpack-decoder.ts";

const VECTORS = new URL("../../../../shared/data/hpack/", import.meta.url);
const NAMES = new FieldNames([], []);

function decodeStory(decoder: HpackDecoder, hex: string): [string, string][] {
  const section = new FieldSection(NAMES);
  const bytes = Buffer.from(hex, "hex");
  assert.ok(decoder.decode(bytes, 0, bytes.length, section), decoder.error);
  return section.fields.slice(0, section.count).map((field) => [field.name, field.value]);
}

interface Story {
  readonly cases: readonly {
    readonly wire: string;
    readonly header_table_size?: number;
    readonly headers: readonly Readonly<Record<string, string>>[];
  }[];
}

for (const encoder of ["go-hpack", "nghttp2", "nghttp2-change-table-size"]) {
  const folder = new URL(`${encoder}/`, VECTORS);
  test(`every story of ${encoder} is decoded`, {
    skip: existsSync(folder) ? false : "the test vectors are not here",
  }, () => {
    const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
    assert.ok(files.length > 0);
    for (const file of files) {
      const story = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Story;
      const decoder = new HpackDecoder(NAMES, {
        tableSizeMax: 4096,
        fieldsMax: 1000,
        listBytesMax: 1 << 20,
        fieldBytesMax: 1 << 16,
      });
      story.cases.forEach((one, i) => {
        if (one.header_table_size !== undefined) decoder.setTableSizeMax(one.header_table_size);
        assert.deepEqual(decodeStory(decoder, one.wire), one.headers.flatMap(Object.entries), `${file} ${i}`);
      });
    }
  });
}

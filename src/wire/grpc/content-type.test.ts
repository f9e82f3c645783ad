import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { grpcContentType, parseGrpcContentType } from "./content-type.ts";

test("gRPC content types give their message format", () => {
  const cases: readonly [string, string][] = [
    ["application/grpc", "proto"],
    ["application/grpc+proto", "proto"],
    ["application/grpc+json", "json"],
    ["Application/GRPC+Proto", "proto"],
    ["application/grpc; charset=utf-8", "proto"],
    ["application/grpc;", "proto"],
    ["application/grpc+thrift ;q=1", "thrift"],
    [grpcContentType, "proto"],
  ];
  for (const [text, format] of cases) assert.equal(parseGrpcContentType(text), format, text);
});

test("all else is not gRPC", () => {
  const others = [
    "",
    "text/html",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpcfoo",
    "application/grpc+",
    "application/grpc proto",
    " application/grpc",
    "application/json",
    "xapplication/grpc",
    "application/grpc+proto,text/html",
  ];
  for (const text of others) assert.equal(parseGrpcContentType(text), undefined, text);
});

test("no text makes it throw, and what it gives is a token in lower case", () => {
  fc.assert(
    fc.property(fc.string(), (tail) => {
      const format = parseGrpcContentType(`application/grpc${tail}`);
      if (format !== undefined) assert.match(format, /^[!#$&\-^_.+0-9a-z]+$/);
    }),
  );
});

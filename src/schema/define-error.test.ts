import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary } from "@bufbuild/protobuf";
import { RpcError } from "../call/error.ts";
import { defineError } from "./define-error.ts";
import {
  BadRequestSchema,
  DebugInfoSchema,
  ErrorInfoSchema,
  HelpSchema,
  LocalizedMessageSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  StatusSchema,
} from "./details.ts";
import { type Leaf, LeafSchema } from "./testdata/gen/fixture/v3/everything_pb.ts";

const OutOfStock = defineError("fixture.v3.Leaf", "FAILED_PRECONDITION", LeafSchema);

test("an error kind carries its data as one detail, and reads it back", () => {
  const error = OutOfStock({ name: "tea", count: 3 }, "no tea left", { retryAfterMs: 500, cause: "sold" });
  assert.ok(error instanceof RpcError);
  assert.equal(error.code, "FAILED_PRECONDITION");
  assert.equal(error.text, "no tea left");
  assert.equal(error.retryAfterMs, 500);
  assert.equal(error.cause, "sold");
  assert.deepEqual(
    error.details.map(({ type }) => type),
    ["fixture.v3.Leaf"],
  );
  const data: Leaf | undefined = OutOfStock.read(error);
  assert.deepEqual(data, create(LeafSchema, { name: "tea", count: 3 }));
  assert.deepEqual(error.detail(LeafSchema), data);
});

test("an error kind says its type and code, and its text defaults to the type", () => {
  assert.equal(OutOfStock.type, "fixture.v3.Leaf");
  assert.equal(OutOfStock.code, "FAILED_PRECONDITION");
  assert.equal(OutOfStock({}).text, "fixture.v3.Leaf");
});

test("read gives undefined for other errors, other codes, other details and damaged bytes", () => {
  const [detail] = OutOfStock({ name: "tea" }).details;
  assert.ok(detail !== undefined);
  assert.equal(OutOfStock.read(new Error("no")), undefined);
  assert.equal(OutOfStock.read(undefined), undefined);
  assert.equal(OutOfStock.read(new RpcError("NOT_FOUND", "", { details: [detail] })), undefined);
  assert.equal(OutOfStock.read(new RpcError("FAILED_PRECONDITION", "")), undefined);
  const damaged = { type: detail.type, value: detail.value.subarray(0, 2) };
  assert.equal(OutOfStock.read(new RpcError("FAILED_PRECONDITION", "", { details: [damaged] })), undefined);
});

test("read finds the data in bytes that are a view of a larger buffer", () => {
  const [detail] = OutOfStock({ name: "tea" }).details;
  assert.ok(detail !== undefined);
  const larger = new Uint8Array(100);
  larger.set(detail.value, 50);
  const value = larger.subarray(50, 50 + detail.value.length);
  const error = new RpcError("FAILED_PRECONDITION", "", {
    details: [
      { type: "x", value },
      { type: detail.type, value },
    ],
  });
  assert.equal(OutOfStock.read(error)?.name, "tea");
});

test("a wrong definition or wrong data fails at once", () => {
  assert.throws(
    () => defineError("fixture.v3.Other" as never, "NOT_FOUND", LeafSchema),
    /type must be the message's own name "fixture\.v3\.Leaf"/,
  );
  assert.throws(
    () => defineError("fixture.v3.Leaf", "OK" as never, LeafSchema),
    /code must be the name of one of gRPC's sixteen failures/,
  );
  assert.throws(() => defineError("x" as never, "NOT_FOUND", {} as never), /data must be a message schema/);
  assert.throws(() => OutOfStock({ count: "3" } as never), /InvalidMessageError: fixture\.v3\.Leaf\.count/);
});

test("the standard details have the names and field numbers of googleapis", () => {
  const numbers = [
    BadRequestSchema,
    DebugInfoSchema,
    ErrorInfoSchema,
    HelpSchema,
    LocalizedMessageSchema,
    PreconditionFailureSchema,
    QuotaFailureSchema,
    RequestInfoSchema,
    ResourceInfoSchema,
    RetryInfoSchema,
    StatusSchema,
  ].map(({ typeName, fields }) => `${typeName} ${fields.map(({ name, number }) => `${name}=${number}`).join(" ")}`);
  assert.deepEqual(numbers, [
    "google.rpc.BadRequest field_violations=1",
    "google.rpc.DebugInfo stack_entries=1 detail=2",
    "google.rpc.ErrorInfo reason=1 domain=2 metadata=3",
    "google.rpc.Help links=1",
    "google.rpc.LocalizedMessage locale=1 message=2",
    "google.rpc.PreconditionFailure violations=1",
    "google.rpc.QuotaFailure violations=1",
    "google.rpc.RequestInfo request_id=1 serving_data=2",
    "google.rpc.ResourceInfo resource_type=1 resource_name=2 owner=3 description=4",
    "google.rpc.RetryInfo retry_delay=1",
    "google.rpc.Status code=1 message=2 details=3",
  ]);
  // RetryInfo of 1.5 s as other implementations write it.
  const retry = fromBinary(RetryInfoSchema, Uint8Array.from(Buffer.from("0a08080110" + "80cab5ee01", "hex")));
  assert.deepEqual([retry.retryDelay?.seconds, retry.retryDelay?.nanos], [1n, 500_000_000]);
});

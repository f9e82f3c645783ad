/** `grpc-status-details-bin` is a google.rpc.Status: a code, a text and details, read and written with no schema of it. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { type Failure, FailureSchema } from "./gen/holdfast/interop/v1/probe_pb.js";

/** google.rpc.Status has the probe's Failure's numbers and types: code 1, message 2, details 3. */
export function encodeStatusDetails(failure: Failure): Uint8Array {
  return toBinary(FailureSchema, failure);
}

export function decodeStatusDetails(bytes: Uint8Array | undefined): readonly Any[] {
  return bytes === undefined ? [] : fromBinary(FailureSchema, bytes).details;
}

/** A failure for a plan. */
export function failureOf(code: number, text: string, details: Failure["details"] = []): Failure {
  return create(FailureSchema, { code, text, details });
}

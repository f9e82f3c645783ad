/**
 * grpc.reflection.v1 and v1alpha ServerReflection (grpc/doc/server-reflection.md): tells what a server serves, so that grpcurl and its like can
 * call it without its .proto files. Both versions say the same in the same shapes, and share one handler.
 *
 * It tells strangers what there is to attack, so it is on for loopback and off elsewhere unless asked for (built-ins.ts).
 */
import type { DescFile } from "@bufbuild/protobuf";
import { codeNumber } from "../call/code.ts";
import { RpcError } from "../call/error.ts";
import type { ReflectionIndex } from "./reflection-index.ts";

/** One question, of either version. */
export interface ReflectionRequest {
  readonly host: string;
  readonly messageRequest:
    | { readonly case: "fileByFilename"; readonly value: string }
    | { readonly case: "fileContainingSymbol"; readonly value: string }
    | {
        readonly case: "fileContainingExtension";
        readonly value: { readonly containingType: string; readonly extensionNumber: number };
      }
    | { readonly case: "allExtensionNumbersOfType"; readonly value: string }
    | { readonly case: "listServices"; readonly value: string }
    | { readonly case: undefined };
}

type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array<ArrayBuffer>[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/** The answer to one question. */
export interface ReflectionResponse<Q> {
  validHost: string;
  originalRequest: Q;
  messageResponse: Answer;
}

const NOT_FOUND = codeNumber("NOT_FOUND");

/** The handlers of both contracts `ServerReflection`. */
export class ReflectionService {
  readonly #index: ReflectionIndex;

  constructor(index: ReflectionIndex) {
    this.#index = index;
  }

  async *serverReflectionInfo<Q extends ReflectionRequest>(
    requests: AsyncIterable<Q>,
  ): AsyncGenerator<ReflectionResponse<Q>, void> {
    // Names of the files that this stream was sent; as many as there are files, whatever is asked.
    const sent = new Set<string>();
    for await (const request of requests) {
      const messageResponse = answerOf(this.#index, request.messageRequest, sent);
      yield { validHost: request.host, originalRequest: request, messageResponse };
    }
  }
}

function answerOf(index: ReflectionIndex, asked: ReflectionRequest["messageRequest"], sent: Set<string>): Answer {
  const files = (file: DescFile | undefined, what: string): Answer =>
    file === undefined
      ? unknown(what)
      : { case: "fileDescriptorResponse", value: { fileDescriptorProto: index.withDependencies(file, sent) } };
  switch (asked.case) {
    case "fileByFilename":
      return files(index.file(asked.value), `file ${shortened(asked.value)}`);
    case "fileContainingSymbol":
      return files(index.fileOfSymbol(asked.value), `symbol ${shortened(asked.value)}`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = asked.value;
      const file = index.fileOfExtension(containingType, extensionNumber);
      return files(file, `extension ${extensionNumber} of ${shortened(containingType)}`);
    }
    case "allExtensionNumbersOfType": {
      const numbers = index.extensionNumbers(asked.value);
      if (numbers === undefined) return unknown(`message ${shortened(asked.value)}`);
      const value = { baseTypeName: asked.value, extensionNumber: [...numbers] };
      return { case: "allExtensionNumbersResponse", value };
    }
    case "listServices":
      return { case: "listServicesResponse", value: { service: index.services.map((name) => ({ name })) } };
    case undefined:
      throw new RpcError("INVALID_ARGUMENT", "a reflection request must ask for something");
  }
}

function unknown(what: string): Answer {
  return { case: "errorResponse", value: { errorCode: NOT_FOUND, errorMessage: `${what} is not known here` } };
}

function shortened(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

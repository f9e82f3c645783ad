import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, file_google_protobuf_any } from "@bufbuild/protobuf/wkt";
import { assertFails } from "../../test/calls/failure.ts";
import { createClient } from "../client/create-client.ts";
import { annotate } from "../schema/contract.ts";
import { Health } from "../schema/gen/grpc/health/v1/health_pb.ts";
import { Channelz } from "../schema/gen/grpc/channelz/v1/channelz_pb.ts";
import { ServerReflection } from "../schema/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../schema/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { Extending } from "../schema/testdata/gen/fixture/extensions/extending_pb.ts";
import { createServer } from "./create-server.ts";
import { type ReflectionRequest, type ReflectionResponse, ReflectionService } from "./reflection.ts";
import { ReflectionIndex } from "./reflection-index.ts";

type Asked = ReflectionRequest["messageRequest"];

function indexOf(): ReflectionIndex {
  const index = new ReflectionIndex();
  for (const contract of [annotate(Health, {}), Channelz, ServerReflection]) index.add(contract);
  return index;
}

/** The answers of one stream. */
async function answers(
  index: ReflectionIndex,
  ...asked: readonly Asked[]
): Promise<readonly ReflectionResponse<unknown>[]> {
  async function* requests(): AsyncGenerator<ReflectionRequest> {
    for (const messageRequest of asked) yield { host: "shop", messageRequest };
  }
  return Array.fromAsync(new ReflectionService(index).serverReflectionInfo(requests()));
}

/** Names of the files of an answer; or its error. */
function filesOf({ messageResponse }: ReflectionResponse<unknown>): readonly string[] | string {
  if (messageResponse.case === "errorResponse") {
    return `${messageResponse.value.errorCode} ${messageResponse.value.errorMessage}`;
  }
  assert.equal(messageResponse.case, "fileDescriptorResponse");
  const { fileDescriptorProto } = messageResponse.value as { fileDescriptorProto: Uint8Array[] };
  return fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

const CHANNELZ = "grpc/channelz/v1/channelz.proto";
const NEEDED = ["google/protobuf/any.proto", "google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"];
const symbol = (value: string): Asked => ({ case: "fileContainingSymbol", value });

describe("server reflection", () => {
  it("lists the services in order, each once", async () => {
    const index = indexOf();
    index.add(Health);
    const [answer] = await answers(index, { case: "listServices", value: "*" });
    assert.deepEqual(answer?.messageResponse, {
      case: "listServicesResponse",
      value: {
        service: [Channelz.typeName, Health.typeName, ServerReflection.typeName].sort().map((name) => ({ name })),
      },
    });
    assert.equal(answer?.validHost, "shop");
    assert.deepEqual(answer?.originalRequest, { host: "shop", messageRequest: { case: "listServices", value: "*" } });
  });

  it("gives a file with all that it needs, the near ones first; what the stream has is not sent again but for the file itself", async () => {
    const byName: Asked = { case: "fileByFilename", value: CHANNELZ };
    const given = await answers(indexOf(), byName, byName, { case: "fileByFilename", value: NEEDED[0] as string });
    assert.deepEqual(given.map(filesOf), [[CHANNELZ, ...NEEDED], [CHANNELZ], [NEEDED[0]]]);
    const other = await answers(indexOf(), symbol("google.protobuf.Any"), byName);
    assert.deepEqual(other.map(filesOf), [[NEEDED[0]], [CHANNELZ, ...NEEDED.slice(1)]]);
  });

  it("what it gives is the descriptor, byte by byte, from which the service can be built again", async () => {
    const [answer] = await answers(indexOf(), symbol(Channelz.typeName));
    const { messageResponse } = answer ?? assert.fail();
    assert.equal(messageResponse.case, "fileDescriptorResponse");
    const { fileDescriptorProto } = messageResponse.value as { fileDescriptorProto: Uint8Array[] };
    assert.deepEqual(fileDescriptorProto[0], toBinary(FileDescriptorProtoSchema, Channelz.file.proto));
    const files = new Map(
      fileDescriptorProto.map((bytes) => {
        const file = fromBinary(FileDescriptorProtoSchema, bytes);
        return [file.name, file] as const;
      }),
    );
    const registry = createFileRegistry(files.get(CHANNELZ) ?? assert.fail(), (name) => files.get(name));
    assert.deepEqual(
      registry.getService(Channelz.typeName)?.methods.map(({ name }) => name),
      Channelz.methods.map(({ name }) => name),
    );
  });

  it("finds whatever has a full name", async () => {
    const names = [
      "grpc.channelz.v1.Channelz",
      "grpc.channelz.v1.Channelz.GetServers",
      "grpc.channelz.v1.Address",
      "grpc.channelz.v1.Address.TcpIpAddress",
      "grpc.channelz.v1.Address.TcpIpAddress.port",
      "grpc.channelz.v1.Address.address",
      "grpc.channelz.v1.ChannelTraceEvent.Severity",
      "grpc.channelz.v1.ChannelTraceEvent.CT_ERROR",
    ];
    for (const [at, answer] of (await answers(indexOf(), ...names.map(symbol))).entries()) {
      assert.equal(filesOf(answer)[0], CHANNELZ, names[at]);
    }
  });

  it("says NOT_FOUND for what there is not, and goes on", async () => {
    const given = await answers(
      indexOf(),
      { case: "fileByFilename", value: "other.proto" },
      symbol("grpc.channelz.v1.ChannelTraceEvent.Severity.CT_ERROR"),
      symbol(""),
      symbol("__proto__"),
      { case: "fileContainingExtension", value: { containingType: "google.protobuf.Any", extensionNumber: 1 } },
      { case: "allExtensionNumbersOfType", value: "other" },
      symbol("x".repeat(100_000)),
      symbol(Health.typeName),
    );
    assert.deepEqual(given.map(filesOf).slice(0, 6), [
      '5 file "other.proto" is not known here',
      '5 symbol "grpc.channelz.v1.ChannelTraceEvent.Severity.CT_ERROR" is not known here',
      '5 symbol "" is not known here',
      '5 symbol "__proto__" is not known here',
      '5 extension 1 of "google.protobuf.Any" is not known here',
      '5 message "other" is not known here',
    ]);
    assert.ok((filesOf(given[6] as ReflectionResponse<unknown>) as string).length < 300);
    assert.deepEqual(filesOf(given[7] as ReflectionResponse<unknown>), [Health.file.proto.name]);
  });

  it("knows extensions by message and number, in whichever file they stand", async () => {
    const index = new ReflectionIndex();
    index.add(Extending);
    const extended = "fixture.extensions.Extended";
    const [own, needed] = ["fixture/extensions/extending.proto", "fixture/extensions/extended.proto"];
    const given = await answers(
      index,
      { case: "fileContainingExtension", value: { containingType: extended, extensionNumber: 100 } },
      { case: "fileContainingExtension", value: { containingType: extended, extensionNumber: 101 } },
      { case: "fileContainingExtension", value: { containingType: extended, extensionNumber: 102 } },
      symbol("fixture.extensions.height"),
      symbol("fixture.extensions.Extender.extender"),
      symbol(extended),
      { case: "allExtensionNumbersOfType", value: extended },
    );
    assert.deepEqual(given.slice(0, -1).map(filesOf), [
      [own, needed],
      [own],
      `5 extension 102 of "${extended}" is not known here`,
      [own],
      [own],
      [needed],
    ]);
    assert.deepEqual(given.at(-1)?.messageResponse, {
      case: "allExtensionNumbersResponse",
      value: { baseTypeName: extended, extensionNumber: [100, 101] },
    });
    const none = await answers(indexOf(), { case: "allExtensionNumbersOfType", value: "google.protobuf.Any" });
    assert.deepEqual(none[0]?.messageResponse.value, { baseTypeName: "google.protobuf.Any", extensionNumber: [] });
  });

  it("a contract that is added later is told of, and what is no contract is refused", async () => {
    const index = new ReflectionIndex();
    index.add(Health);
    assert.equal(index.fileOfSymbol("google.protobuf.Any"), undefined);
    index.add(Channelz);
    assert.equal(index.fileOfSymbol("google.protobuf.Any"), file_google_protobuf_any);
    assert.throws(() => index.add({} as typeof Health), TypeError);
  });

  it("answers over a connection in both versions; a request for nothing ends the stream", async () => {
    const index = indexOf();
    const service = new ReflectionService(index);
    await using server = createServer().service(ServerReflection, service).service(ServerReflectionAlpha, service);
    const { port } = await server.listen(0);
    for (const contract of [ServerReflection, ServerReflectionAlpha] as const) {
      const client = createClient(contract as typeof ServerReflection, `localhost:${port}`);
      async function* requests(): AsyncGenerator<
        { messageRequest: { case: "fileByFilename"; value: string } } | object
      > {
        yield { messageRequest: { case: "fileByFilename", value: CHANNELZ } };
        yield {};
      }
      const replies = client.serverReflectionInfo(requests())[Symbol.asyncIterator]();
      const first = await replies.next();
      assert.equal(first.value?.messageResponse.case, "fileDescriptorResponse");
      assert.equal(first.value?.originalRequest?.messageRequest.value, CHANNELZ);
      await assertFails(replies.next(), "INVALID_ARGUMENT");
      await client.$close();
    }
  });
});

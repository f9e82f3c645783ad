"""grpcio's own clients of health (grpc_health.v1) and reflection (grpc_reflection.v1alpha), asking the server on a port.

`built_ins.py PORT` prints a line of JSON for each answer. It watches a service until that does not serve any more; the first line of the
Watch comes before anything else, so that whoever reads it can turn the service.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PROBE = "holdfast.interop.v1.Probe"
EXTENDED = "fixture.extensions.Extended"


def tell(name, value):
    print(json.dumps({"name": name, "value": value}), flush=True)


def code_of(call, *arguments):
    try:
        call(*arguments)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def word(reply):
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def ask_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest
    for reply in health.Watch(request(service=PROBE), timeout=30):
        tell("watch", word(reply))
        if reply.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            break
    tell("watch unknown", word(next(iter(health.Watch(request(service="other"), timeout=30)))))
    tell("check", word(health.Check(request(), timeout=30)))
    tell("check of a service", word(health.Check(request(service=PROBE), timeout=30)))
    tell("check unknown", code_of(lambda: health.Check(request(service="other"), timeout=30)))


def class_of(descriptor):
    """protobuf changed the way at 4.22."""
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)


def ask_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    tell("services", sorted(database.get_services()))
    pool = descriptor_pool.DescriptorPool(database)
    method = pool.FindServiceByName(PROBE).FindMethodByName("Unary")
    tell("method", [method.input_type.full_name, method.output_type.full_name])
    unary = channel.unary_unary(
        f"/{PROBE}/{method.name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=class_of(method.output_type).FromString,
    )
    tell("call", unary(class_of(method.input_type)(body=b"hello"), timeout=30).body.decode())
    tell("file", database.FindFileByName("google/protobuf/any.proto").package)
    tell("extensions", list(database.FindAllExtensionNumbers(EXTENDED)))
    # The database of protobuf 4.21 answers None for it without asking.
    wanted = reflection_pb2.ExtensionRequest(containing_type=EXTENDED, extension_number=101)
    request = reflection_pb2.ServerReflectionRequest(file_containing_extension=wanted)
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    reply = next(stub.ServerReflectionInfo(iter([request]), timeout=30))
    files = reply.file_descriptor_response.file_descriptor_proto
    tell("extension", [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in files])
    try:
        database.FindFileContainingSymbol("nobody.knows.This")
    except KeyError:
        tell("symbol", "KeyError")


def main():
    with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
        ask_health(channel)
        ask_reflection(channel)


main()

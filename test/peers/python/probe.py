"""The probe over Debian's grpcio: `probe.py server` serves it, `probe.py client PORT` makes calls that stdin describes.

Lines on stdin and stdout are JSON. Messages cross the client as bytes (base64), so only the server needs a schema; it
reads the descriptors that test/peers/gen/peers.binpb holds.
"""

import base64
import json
import os
import sys
import threading
from concurrent import futures

import grpc

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICE = "holdfast.interop.v1.Probe"
print_lock = threading.Lock()


def say(line):
    with print_lock:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def encode(data):
    return base64.b64encode(data).decode()


def fields_of(metadata):
    return [[key, {"bytes": encode(value)} if isinstance(value, bytes) else value] for key, value in metadata or ()]


def metadata_of(fields):
    return [(key, base64.b64decode(value["bytes"]) if isinstance(value, dict) else value) for key, value in fields]


# ------------------------------------------------------------------------------------------------------------ server


def load_schema():
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(read_file(os.path.join(HERE, "..", "gen", "peers.binpb")))
    for file in files.file:
        pool.Add(file)
    get = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return {
        name: get(pool.FindMessageTypeByName("holdfast.interop.v1." + name))
        for name in ("ProbeRequest", "ProbeReply", "SeenRequest", "SeenReply", "Failure")
    }


class Histories:
    """What became of keyed calls."""

    def __init__(self):
        self.changed = threading.Condition()
        self.states = {}

    def note(self, key, state):
        if key == "":
            return
        with self.changed:
            if self.states.get(key) not in ("ended", "cancelled"):
                self.states[key] = state
                self.changed.notify_all()

    def wait(self, key, until_begun):
        final = ("ended", "cancelled", "begun") if until_begun else ("ended", "cancelled")
        with self.changed:
            self.changed.wait_for(lambda: self.states.get(key) in final, timeout=5)
            return self.states.get(key, "unknown")


class Probe(grpc.GenericRpcHandler):
    def __init__(self):
        self.types = load_schema()
        self.histories = Histories()

    def service(self, details):
        kinds = {
            "Unary": (grpc.unary_unary_rpc_method_handler, self.unary),
            "Download": (grpc.unary_stream_rpc_method_handler, self.download),
            "Upload": (grpc.stream_unary_rpc_method_handler, self.upload),
            "Chat": (grpc.stream_stream_rpc_method_handler, self.chat),
        }
        _, service, method = details.method.split("/")
        if service != SERVICE:
            return None
        if method == "Seen":
            return grpc.unary_unary_rpc_method_handler(
                self.seen, self.types["SeenRequest"].FromString, self.types["SeenReply"].SerializeToString
            )
        if method not in kinds:
            return None
        kind, behaviour = kinds[method]
        return kind(behaviour, self.types["ProbeRequest"].FromString, self.types["ProbeReply"].SerializeToString)

    def begin(self, context):
        metadata = context.invocation_metadata()
        header = [(k, v) for k, v in metadata if k in ("x-probe-header", "x-probe-header-bin")]
        trailer = [(k, v) for k, v in metadata if k in ("x-probe-trailer", "x-probe-trailer-bin")]
        if header:
            context.send_initial_metadata(header)
        context.set_trailing_metadata(trailer)
        return {"bytes": 0, "count": 0, "index": 0, "trailer": trailer}

    def reply(self, request, context, totals):
        remaining = context.time_remaining()
        reply = self.types["ProbeReply"](
            body=request.body + bytes(request.reply_size),
            seen_bytes=totals["bytes"],
            seen_count=totals["count"],
            remaining_ms=-1 if remaining is None or remaining > 1e9 else int(remaining * 1000) + 1,
            index=totals["index"],
        )
        totals["index"] += 1
        return reply

    def answer(self, request, context, totals, count):
        ended = threading.Event()
        self.histories.note(request.key, "begun")

        def on_end():
            ended.set()
            self.histories.note(request.key, "cancelled")

        if not context.add_callback(on_end):
            on_end()
        for _ in range(count):
            if request.delay_ms:
                ended.wait(request.delay_ms / 1000)
            if not context.is_active():
                return
            yield self.reply(request, context, totals)
        if count == 0 and request.delay_ms:
            ended.wait(request.delay_ms / 1000)
        if not context.is_active():
            return
        self.histories.note(request.key, "ended")
        if request.is_defect:
            raise TypeError("a defect in the handler")
        if request.HasField("failure"):
            if request.failure.details:
                encoded = ("grpc-status-details-bin", request.failure.SerializeToString())
                context.set_trailing_metadata(totals["trailer"] + [encoded])
            code = next(code for code in grpc.StatusCode if code.value[0] == request.failure.code)
            context.abort(code, request.failure.text)

    def single(self, request, context, totals):
        for _ in self.answer(request, context, totals, 0):
            pass
        return self.reply(request, context, totals)

    def add(self, totals, request):
        totals["bytes"] += len(request.body)
        totals["count"] += 1

    def unary(self, request, context):
        totals = self.begin(context)
        self.add(totals, request)
        return self.single(request, context, totals)

    def download(self, request, context):
        totals = self.begin(context)
        self.add(totals, request)
        yield from self.answer(request, context, totals, request.reply_count)

    def upload(self, requests, context):
        totals = self.begin(context)
        last = None
        for request in requests:
            self.add(totals, request)
            last = request
        if last is None:
            return self.types["ProbeReply"](remaining_ms=-1)
        return self.single(last, context, totals)

    def chat(self, requests, context):
        totals = self.begin(context)
        for request in requests:
            self.add(totals, request)
            yield from self.answer(request, context, totals, request.reply_count)

    def seen(self, request, _context):
        state = self.histories.wait(request.key, request.until_begun)
        return self.types["SeenReply"](
            is_begun=state != "unknown", is_ended=state in ("ended", "cancelled"), is_cancelled=state == "cancelled"
        )


def serve(options):
    compression = grpc.Compression.Gzip if options.get("isCompressed") else grpc.Compression.NoCompression
    server = grpc.server(futures.ThreadPoolExecutor(64), compression=compression)
    server.add_generic_rpc_handlers((Probe(),))
    tls = options.get("tls")
    if tls:
        pair = (read_file(tls["keyFile"]), read_file(tls["certFile"]))
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials((pair,)))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say({"port": port})
    sys.stdin.read()
    server.stop(None)


# ------------------------------------------------------------------------------------------------------------ client


class Caller:
    def __init__(self, options):
        target = "localhost:%d" % options["port"]
        tls = options.get("tls")
        if tls:
            files = [read_file(tls[name]) for name in ("caFile", "keyFile", "certFile")]
            self.channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(*files))
        else:
            self.channel = grpc.insecure_channel(target)
        self.calls = {}
        self.lock = threading.Lock()

    def run(self, plan):
        replies, arrived, over = [], threading.Condition(), []
        requests = [base64.b64decode(request) for request in plan["requests"]]

        def source():
            for index, request in enumerate(requests):
                if plan.get("isLockstep"):
                    with arrived:
                        arrived.wait_for(lambda: len(replies) >= index or over)
                yield request
            if plan.get("keepsOpen"):
                with arrived:
                    arrived.wait_for(lambda: over)

        options = {
            "metadata": metadata_of(plan.get("metadata", [])),
            "timeout": plan["timeoutMs"] / 1000 if "timeoutMs" in plan else None,
            "compression": grpc.Compression.Gzip if plan.get("isCompressed") else None,
        }
        path, kind = plan["path"], plan["kind"]
        first = requests[0] if requests else b""
        if kind == "unary":
            call = self.channel.unary_unary(path).future(first, **options)
        elif kind == "server_streaming":
            call = self.channel.unary_stream(path)(first, **options)
        elif kind == "client_streaming":
            call = self.channel.stream_unary(path).future(source(), **options)
        else:
            call = self.channel.stream_stream(path)(source(), **options)
        with self.lock:
            is_cancelled = self.calls.get(plan["id"]) == "cancelled"
            self.calls[plan["id"]] = call
        if is_cancelled:
            call.cancel()

        def on_end():
            with arrived:
                over.append(True)
                arrived.notify_all()

        if not call.add_callback(on_end):
            on_end()
        try:
            if kind in ("unary", "client_streaming"):
                replies.append(call.result())
            else:
                for reply in call:
                    with arrived:
                        replies.append(reply)
                        arrived.notify_all()
                    if len(replies) == plan.get("cancelAfterReplies"):
                        call.cancel()
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        say(
            {
                "id": plan["id"],
                "replies": [encode(reply) for reply in replies],
                "header": fields_of(call.initial_metadata()),
                "trailer": fields_of(call.trailing_metadata()),
                "code": call.code().value[0],
                "text": call.details() or "",
            }
        )
        self.calls.pop(plan["id"], None)

    def cancel(self, id):
        """May come before the call has begun."""
        with self.lock:
            call = self.calls.setdefault(id, "cancelled")
        if call != "cancelled":
            call.cancel()


def run_client(options):
    caller = Caller(options)
    say({"ready": True})
    pool = futures.ThreadPoolExecutor(128)

    def run(plan):
        try:
            caller.run(plan)
        except BaseException as error:  # the test must hear of it
            say({"id": plan["id"], "failed": repr(error)})

    for line in sys.stdin:
        plan = json.loads(line)
        if "cancel" in plan:
            caller.cancel(plan["cancel"])
        else:
            pool.submit(run, plan)
    caller.channel.close()


if __name__ == "__main__":
    (serve if sys.argv[1] == "server" else run_client)(json.loads(sys.argv[2]))
    os._exit(0)

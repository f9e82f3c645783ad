import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  connectPair,
  connectRecorded,
  listenRecorded,
  type RecordedListener,
  type RecordedListenOptions,
  type RecordedSocket,
} from "../testing/recorded-sockets.ts";
import type { ClientTlsOptions, Listener, NetworkError, SocketAddress } from "./network.ts";
import { createNodeNetwork } from "./node-network.ts";

const network = createNodeNetwork();
const listeners: Listener[] = [];
after(() => Promise.all(listeners.map((listener) => listener.close())));

async function listen(options: RecordedListenOptions = {}): Promise<RecordedListener> {
  const side = await listenRecorded(network, options);
  listeners.push(side.listener);
  return side;
}

function connect(address: SocketAddress, tls?: ClientTlsOptions, alpn?: readonly string[]): RecordedSocket {
  return connectRecorded(network, address, tls, alpn);
}

async function pair(): Promise<Awaited<ReturnType<typeof connectPair>>> {
  const made = await connectPair(network);
  listeners.push(made.side.listener);
  return made;
}

async function inDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "holdfast-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

describe("a listener", () => {
  it("gives its address free when close resolves, while accepted sockets live on", async () => {
    const { client, server, side } = await pair();
    const first = side.listener.close();
    assert.equal(side.listener.close(), first);
    await first;
    const again = await listen({ address: side.address });
    assert.deepEqual(again.address, side.address);
    server.socket.write(Buffer.from("alive"));
    await client.seen.until(() => client.seen.text === "alive");
    client.socket.destroy();
    server.socket.destroy();
    await Promise.all([client.seen.has("closed"), server.seen.has("closed")]);
  });

  it("says that the port is in use, in which phase and why", async () => {
    const side = await listen();
    await assert.rejects(listen({ address: side.address }), (error) => {
      assert.ok(error instanceof Error);
      assert.match(error.message, /^cannot listen on 127\.0\.0\.1:\d+ \(phase listen\): .*EADDRINUSE/);
      assert.deepEqual(
        [(error.cause as NetworkError).phase, (error.cause as NetworkError).code],
        ["listen", "EADDRINUSE"],
      );
      return true;
    });
  });

  it("says which address is not this machine's, and which port cannot be", async () => {
    await assert.rejects(
      listen({ address: { kind: "tcp", host: "203.0.113.1", port: 0 } }),
      /203\.0\.113\.1:0 .*EADDRNOTAVAIL/,
    );
    await assert.rejects(
      listen({ address: { kind: "tcp", host: "127.0.0.1", port: 70_000 } }),
      /127\.0\.0\.1:70000 .*port/i,
    );
    await assert.rejects(
      listen({ tls: { cert: "no", key: "no", clientCa: undefined, clientCert: "none" } }),
      /\(phase tls\)/,
    );
  });

  it("survives an owner that throws in accept, and tells failed", async () => {
    let isThrowing = true;
    const side = await listen({
      onAccept: () => {
        if (isThrowing) throw new Error("a defect");
      },
    });
    const cut = connect(side.address);
    await cut.seen.has("ended");
    cut.socket.destroy();
    assert.equal(side.failures[0]?.code, "HANDLER_THREW");
    isThrowing = false;
    const client = connect(side.address);
    await client.seen.has("opened");
    client.socket.destroy();
  });

  it("lets its owner destroy a socket at once", async () => {
    const side = await listen({
      onAccept: (socket) => {
        socket.destroy();
      },
    });
    const client = connect(side.address);
    const server = await side.accepted();
    await Promise.all([client.seen.has("ended"), server.seen.has("closed")]);
    assert.deepEqual(server.seen.told, ["closed"]);
    assert.equal(server.seen.error, undefined);
    client.socket.destroy();
  });

  it("lets the kernel probe a TCP client that is quiet for a minute", {
    skip: process.platform !== "linux",
  }, async () => {
    const side = await listen();
    const client = connect(side.address);
    await side.accepted();
    const port = side.address.kind === "tcp" ? side.address.port : 0;
    // Of the columns: the local address, its state (01: established), and its timer (02: keepalive) with what is left of it.
    const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
    const row = (await readFile("/proc/net/tcp", "utf8"))
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .find((columns) => columns[1] === local && columns[3] === "01");
    const [timer, left = ""] = (row?.[5] ?? "").split(":");
    assert.equal(timer, "02", row?.join(" "));
    assert.ok(Number.parseInt(left, 16) > 5_000 && Number.parseInt(left, 16) <= 6_000, `${left} hundredths`);
    client.socket.destroy();
  });

  it("works on a Unix socket, and removes the file at close", () =>
    inDirectory(async (directory) => {
      const path = join(directory, "a.sock");
      const side = await listen({ address: { kind: "unix", path } });
      assert.deepEqual(side.listener.address, { kind: "unix", path });
      const client = connect({ kind: "unix", path });
      const server = await side.accepted();
      client.socket.write(Buffer.from("x"));
      await server.seen.until(() => server.seen.text === "x");
      assert.equal(client.socket.remoteAddress, path);
      assert.equal(server.socket.remoteAddress, path);
      client.socket.destroy();
      server.socket.destroy();
      await side.listener.close();
      await assert.rejects(stat(path), { code: "ENOENT" });
    }));

  it("removes a Unix socket's file that nobody listens to, and no other", () =>
    inDirectory(async (directory) => {
      const stale = join(directory, "stale.sock");
      const child = spawn(process.execPath, [
        "-e",
        `require("net").createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, "SIGKILL"))`,
      ]);
      await once(child, "exit");
      assert.ok((await stat(stale)).isSocket());
      const side = await listen({ address: { kind: "unix", path: stale } });
      await assert.rejects(
        listen({ address: { kind: "unix", path: stale } }),
        /stale\.sock \(phase listen\): .*EADDRINUSE/,
      );
      const client = connect({ kind: "unix", path: stale });
      await client.seen.has("opened");
      client.socket.destroy();
      await side.listener.close();

      const file = join(directory, "file");
      await writeFile(file, "mine");
      await assert.rejects(listen({ address: { kind: "unix", path: file } }), /EADDRINUSE/);
      assert.ok((await stat(file)).isFile());
    }));

  it("lives on after it ran out of descriptors", { skip: process.platform !== "linux" }, async () => {
    const module = JSON.stringify(new URL("./node-network.ts", import.meta.url).href);
    const code = `
      import { createNodeNetwork } from ${module};
      const listener = await createNodeNetwork().listen({
        address: { kind: "tcp", host: "127.0.0.1", port: 0 }, tls: undefined, alpn: [], handshakeTimeoutMs: 1000,
        accept: (socket) => ({ opened() {}, data: (bytes) => socket.write(bytes), drained() {}, ended: () => socket.end(), closed() {} }),
        failed() {},
      });
      console.log(listener.address.port);
    `;
    const child = spawn("sh", ["-c", 'ulimit -n 40 && exec "$0" --input-type=module -e "$1"', process.execPath, code], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const [line] = (await once(child.stdout, "data")) as [Buffer];
      const address: SocketAddress = { kind: "tcp", host: "127.0.0.1", port: Number(line.toString()) };
      const clients = Array.from({ length: 60 }, () => connect(address));
      for (const client of clients) client.socket.write(Buffer.from("x"));
      await Promise.all(
        clients.map((client) =>
          client.seen.until(() => client.seen.text === "x" || /ended|closed/.test(client.seen.told.join())),
        ),
      );
      const served = clients.filter((client) => client.seen.text === "x").length;
      assert.ok(served > 0 && served < 60, `${served} served`);
      for (const client of clients) client.socket.destroy();
      await Promise.all(clients.map((client) => client.seen.has("closed")));
      // The child may still be about to hear of it: the first may be cut, one is served.
      let isServed = false;
      for (let i = 0; i < 100 && !isServed; i += 1) {
        const client = connect(address);
        client.socket.write(Buffer.from("x"));
        await client.seen.until(() => client.seen.text === "x" || /ended|closed/.test(client.seen.told.join()));
        isServed = client.seen.text === "x";
        client.socket.destroy();
      }
      assert.ok(isServed);
    } finally {
      child.kill("SIGKILL");
    }
  });
});

/**
 * Races on real sockets: a name that the test's own look-up gives `::1` and `127.0.0.1`. What is refused on loopback is refused at
 * once, so no outcome here waits for a delay.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type LookupFunction } from "node:net";
import { after, describe, it } from "node:test";
import { makeCertificates } from "../../testing/certificates.ts";
import {
  listenRecorded,
  type RecordedListener,
  type RecordedListenOptions,
  SocketRecorder,
} from "../../testing/recorded-sockets.ts";
import type { ClientTlsOptions, Listener, Socket } from "../../world/network.ts";
import { createNodeNetwork } from "../../world/node-network.ts";
import { nodeWorld } from "../../world/node.ts";
import { deadPort } from "../../world/testdata/dead-port.ts";
import { connectRacing } from "./happy-eyeballs.ts";

const listeners: Listener[] = [];
after(() => Promise.all(listeners.map((listener) => listener.close())));

async function listen(host: string, options: RecordedListenOptions = {}): Promise<RecordedListener> {
  const side = await listenRecorded(nodeWorld.network, { ...options, address: { kind: "tcp", host, port: 0 } });
  listeners.push(side.listener);
  return side;
}

function portOf(side: RecordedListener): number {
  return side.address.kind === "tcp" ? side.address.port : assert.fail();
}

/** Races to `shop.test`, which has these addresses. */
function race(
  addresses: readonly string[],
  port: number,
  tls?: ClientTlsOptions,
): { readonly socket: Socket; readonly seen: SocketRecorder } {
  const lookup: LookupFunction = (_, __, answer) =>
    answer(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  const seen = new SocketRecorder();
  const world = { ...nodeWorld, network: createNodeNetwork({ lookup }) };
  const options = { tls, alpn: tls === undefined ? [] : ["h2"] };
  const socket = connectRacing(world, { kind: "tcp", host: "shop.test", port }, options, seen);
  assert.deepEqual(seen.told, [], "nothing is told from inside");
  return { socket, seen };
}

/** Whether this machine has `::1`. */
async function hasIpv6(): Promise<boolean> {
  const server = createServer().listen(0, "::1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  return true;
}

function pem(made: ReturnType<typeof makeCertificates>): NonNullable<RecordedListenOptions["tls"]> {
  return { cert: made.serverCertPem, key: made.serverKeyPem, clientCa: undefined, clientCert: "none" };
}

function trusting(made: ReturnType<typeof makeCertificates>): ClientTlsOptions {
  return { ca: made.caPem, cert: undefined, key: undefined, serverName: undefined };
}

const skip = (await hasIpv6()) ? false : "needs ::1";

describe("a race on real loopback addresses", () => {
  it("goes from IPv6, where nobody listens, to IPv4, and carries bytes both ways", { skip }, async () => {
    const side = await listen("127.0.0.1");
    const { socket, seen } = race(["::1", "127.0.0.1"], portOf(side));
    socket.write(Buffer.from("early "));
    const server = await side.accepted();
    await seen.has("opened");
    socket.write(Buffer.from("and late"));
    await server.seen.until(() => server.seen.text === "early and late");
    server.socket.write(Buffer.from("yes"));
    await seen.until(() => seen.text === "yes");
    assert.equal(socket.remoteAddress, `127.0.0.1:${portOf(side)}`);
    assert.equal(socket.localAddress, server.socket.remoteAddress);
    socket.end();
    server.socket.end();
    await Promise.all([seen.has("closed"), server.seen.has("closed")]);
    assert.equal(seen.error, undefined);
    assert.ok(seen.told.includes("drained"), "what was written early was queued, and has left");
    assert.deepEqual(
      seen.told.filter((what) => what !== "drained"),
      ["opened", "data", "ended", "closed"],
    );
  });

  it("goes from IPv4, where nobody listens, to IPv6", { skip }, async () => {
    const side = await listen("::1");
    const { socket, seen } = race(["127.0.0.1", "::1"], portOf(side));
    await seen.has("opened");
    assert.equal(socket.remoteAddress, `[::1]:${portOf(side)}`);
    socket.destroy();
    await seen.has("closed");
    assert.deepEqual(seen.told, ["opened", "closed"]);
    assert.equal(seen.error, undefined);
  });

  it("names both addresses when neither listens", { skip }, async () => {
    using dead = await deadPort();
    const { port } = dead;
    const { seen } = race(["::1", "127.0.0.1"], port);
    await seen.has("closed");
    assert.deepEqual(seen.told, ["closed"]);
    assert.deepEqual([seen.error?.phase, seen.error?.code], ["connect", "ECONNREFUSED"]);
    assert.equal(
      seen.error?.text,
      `no address of shop.test:${port} could be reached: [::1]:${port} ECONNREFUSED, 127.0.0.1:${port} ECONNREFUSED`,
    );
  });

  it("lets the address prove the name in TLS, from the first that speaks it", { skip }, async () => {
    const made = makeCertificates({ hosts: ["shop.test"] });
    const side = await listen("127.0.0.1", { tls: pem(made), alpn: ["h2"] });
    const { socket, seen } = race(["::1", "127.0.0.1"], portOf(side), trusting(made));
    await seen.has("opened", "closed");
    assert.equal(seen.error, undefined);
    assert.equal(socket.tls?.alpn, "h2");
    assert.deepEqual(socket.tls?.identities, ["shop.test"]);
    socket.destroy();
    await seen.has("closed");
  });

  it("is lost to a certificate for the address and not for the name, in the tls phase", { skip }, async () => {
    const made = makeCertificates({ hosts: ["127.0.0.1"] });
    const side = await listen("127.0.0.1", { tls: pem(made), alpn: ["h2"] });
    const { seen } = race(["127.0.0.1", "::1"], portOf(side), trusting(made));
    await seen.has("closed");
    assert.deepEqual(seen.told, ["closed"]);
    assert.deepEqual([seen.error?.phase, seen.error?.code], ["tls", "ERR_TLS_CERT_ALTNAME_INVALID"]);
    const text = seen.error?.text ?? "";
    const port = portOf(side);
    const list = `127.0.0.1:${port} ERR_TLS_CERT_ALTNAME_INVALID, [::1]:${port} ECONNREFUSED; `;
    assert.ok(text.startsWith(`no address of shop.test:${port} could be reached: ${list}`), text);
    assert.match(text, /Host: shop\.test\. is not/);
  });

  it("tells closed alone when it is destroyed while it is looked up, dialled or shaking hands", async () => {
    const made = makeCertificates({ hosts: ["shop.test"] });
    const side = await listen("127.0.0.1", { tls: pem(made), alpn: ["h2"] });
    const ticks: readonly (() => Promise<void>)[] = [
      () => Promise.resolve(),
      () => new Promise((resolve) => process.nextTick(resolve)),
      () => new Promise((resolve) => setImmediate(resolve)),
    ];
    for (const wait of ticks) {
      const { socket, seen } = race(["127.0.0.1", "127.0.0.2"], portOf(side), trusting(made));
      socket.write(Buffer.from("never sent"));
      await wait();
      socket.destroy();
      await seen.has("closed");
      assert.deepEqual(seen.told, ["closed"]);
      assert.equal(seen.error, undefined);
      assert.equal(socket.queuedBytes, 0);
    }
  });

  it("is cut when its owner throws in opened, and closed carries what was thrown", async () => {
    const side = await listen("127.0.0.1");
    const lookup: LookupFunction = (_, __, answer) => answer(null, [{ address: "127.0.0.1", family: 4 }]);
    const world = { ...nodeWorld, network: createNodeNetwork({ lookup }) };
    const seen = new SocketRecorder();
    const cause = new Error("a defect");
    seen.opened = (): void => {
      throw cause;
    };
    const shop = { kind: "tcp", host: "shop.test", port: portOf(side) } as const;
    connectRacing(world, shop, { tls: undefined, alpn: [] }, seen);
    await seen.has("closed");
    assert.deepEqual([seen.error?.code, seen.error?.cause], ["HANDLER_THREW", cause]);
    assert.deepEqual(seen.told, ["closed"]);
  });
});

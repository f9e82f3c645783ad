import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { describe, it } from "node:test";
import { connectionShare, descriptorOf, descriptorsForConnections } from "./node-descriptors.ts";

const line = (soft: string): string =>
  `Limit  Soft Limit  Hard Limit  Units\nMax open files            ${soft}   9999   files\n`;

describe("the descriptors that connections may have", () => {
  it("are all but an eighth, and all but 64 at the most", () => {
    assert.equal(connectionShare(line("128")), 112);
    assert.equal(connectionShare(line("512")), 448);
    assert.equal(connectionShare(line("20000")), 19_936);
  });

  it("are without limit where the system has none, or does not say", () => {
    assert.equal(connectionShare(line("unlimited")), Infinity);
    assert.equal(connectionShare(""), Infinity);
  });

  it("are this process's where the kernel tells it", async (t) => {
    const limits = await readFile("/proc/self/limits", "utf8").catch(() => undefined);
    if (limits === undefined) return t.skip("no /proc");
    assert.equal(await descriptorsForConnections(), connectionShare(limits));
  });
});

describe("a socket's descriptor", () => {
  it("has a number while it is open, and none after", async (t) => {
    if (process.platform === "win32") return t.skip("Windows has handles");
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { readonly port: number };
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    assert.ok(descriptorOf(socket) > 2);
    socket.destroy();
    server.close();
    assert.equal(descriptorOf(socket), -1);
    assert.equal(descriptorOf({}), -1);
  });
});

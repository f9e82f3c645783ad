import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { turns } from "../../../test/calls/gate.ts";
import { nodeWorld } from "../../world/node.ts";
import type { NetworkError, Socket, SocketEvents } from "../../world/network.ts";
import { connectInProcess } from "./in-process.ts";

interface End {
  readonly socket: Socket;
  readonly told: string[];
  text: string;
}

function recorder(): { told: string[]; text: string; events: SocketEvents } {
  const made = { told: [] as string[], text: "", events: undefined as unknown as SocketEvents };
  made.events = {
    opened: () => void made.told.push("opened"),
    data: (bytes) => {
      made.text += bytes.toString("latin1");
    },
    drained: () => void made.told.push("drained"),
    ended: () => void made.told.push("ended"),
    closed: (error) => void made.told.push(error === undefined ? "closed" : "failed"),
  };
  return made;
}

function pair(): { readonly near: End; readonly far: End } {
  const nearSide = recorder();
  const farSide = recorder();
  let accepted: Socket | undefined;
  const socket = connectInProcess(nodeWorld, nearSide.events, (given) => {
    accepted = given;
    return farSide.events;
  });
  return { near: Object.assign(nearSide, { socket }), far: Object.assign(farSide, { socket: accepted as Socket }) };
}

describe("a pair of sockets in memory", () => {
  it("carries bytes both ways in order, never in the same turn", async () => {
    const { near, far } = pair();
    near.socket.write(Buffer.from("a"));
    near.socket.writeAll([Buffer.from("b"), Buffer.from("c")]);
    assert.deepEqual([far.text, near.told], ["", []]);
    await turns(3);
    far.socket.write(Buffer.from("d"));
    await turns(3);
    assert.deepEqual([far.text, near.text, near.told], ["abc", "d", ["opened"]]);
  });

  it("lets the writer feel a pause, and tells when what waited was read", async () => {
    const { near, far } = pair();
    far.socket.pause();
    near.socket.write(Buffer.alloc(100_000));
    await turns(3);
    assert.equal(near.socket.queuedBytes, 100_000);
    assert.ok(!near.told.includes("drained"));
    far.socket.resume();
    await turns(3);
    assert.equal(far.text.length, 100_000);
    assert.equal(near.socket.queuedBytes, 0);
    assert.equal(near.told.filter((what) => what === "drained").length, 1);
  });

  it("ends in order: what was written first, then the end, then both are closed, once", async () => {
    const { near, far } = pair();
    near.socket.write(Buffer.from("last"));
    near.socket.end();
    near.socket.write(Buffer.from("too late"));
    await turns(3);
    assert.deepEqual([far.text, far.told], ["last", ["ended"]]);
    far.socket.end();
    await turns(5);
    assert.deepEqual(
      [far.told, near.told],
      [
        ["ended", "closed"],
        ["opened", "ended", "closed"],
      ],
    );
    near.socket.destroy();
    far.socket.destroy();
    await turns(5);
    assert.equal([...far.told, ...near.told].filter((what) => what === "closed").length, 2);
  });

  it("destroyed on one side closes the other, which first reads what was written before", async () => {
    const { near, far } = pair();
    await turns(2);
    far.socket.write(Buffer.from("lost"));
    near.socket.write(Buffer.from("last words"));
    near.socket.destroy();
    near.socket.write(Buffer.from("too late"));
    await turns(5);
    assert.deepEqual([near.told, near.text], [["opened", "closed"], ""]);
    assert.deepEqual([far.told, far.text], [["closed"], "last words"]);
  });

  it("destroyed on one side closes one that has stopped reading too, before or after", async () => {
    const before = pair();
    before.far.socket.pause();
    before.near.socket.destroy();
    const after = pair();
    after.near.socket.write(Buffer.from("unread"));
    after.near.socket.destroy();
    after.far.socket.pause();
    await turns(5);
    assert.deepEqual([before.far.told, after.far.told, after.far.text], [["closed"], ["closed"], ""]);
  });

  it("refused by its server closes without having been open", async () => {
    const nearSide = recorder();
    connectInProcess(nodeWorld, nearSide.events, (socket) => {
      socket.destroy();
      return recorder().events;
    });
    await turns(5);
    assert.deepEqual(nearSide.told, ["closed"]);
  });

  for (const event of ["opened", "data", "drained", "ended"] as const) {
    it(`costs an owner that throws in ${event} its own pair, and says why`, async () => {
      const bad = recorder();
      const errors: (NetworkError | undefined)[] = [];
      bad.events = {
        ...bad.events,
        [event]: () => {
          throw new Error("a defect");
        },
        closed: (error) => void errors.push(error),
      };
      const farSide = recorder();
      let far: Socket | undefined;
      const near = connectInProcess(nodeWorld, bad.events, (given) => {
        far = given;
        return farSide.events;
      });
      far?.pause();
      near.write(Buffer.from("unread"));
      assert.ok(near.queuedBytes >= 0);
      await turns(2);
      assert.ok(near.queuedBytes >= 0);
      far?.write(Buffer.from("a"));
      far?.resume();
      await turns(3);
      far?.end();
      await turns(5);
      assert.deepEqual(
        errors.map((error) => [error?.code, error?.text, String(error?.cause)]),
        [["HANDLER_THREW", "in-process: the socket's owner threw: a defect", "Error: a defect"]],
      );
      assert.equal(farSide.told.at(-1), "closed");
      const { near: next, far: nextFar } = pair();
      next.socket.write(Buffer.from("b"));
      await turns(3);
      assert.equal(nextFar.text, "b");
    });
  }
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { turns } from "../../../test/calls/gate.ts";
import { manualWorld } from "../../../test/calls/manual-world.ts";
import { FLAG_ACK, FLAG_END_STREAM, FRAME_HEADERS, FRAME_PING } from "../http2/frame.ts";
import {
  blockOf,
  clientStart,
  continuation,
  data,
  frame,
  ping,
  REQUEST_FIELDS,
  request,
  windowUpdate,
} from "../http2/testdata/frame-script.ts";
import type { Http2Stream } from "../http2/stream.ts";
import { type DrivenConnection, drivenConnection, notingOwner } from "./testdata/driven-connection.ts";

const BLOCK = blockOf(REQUEST_FIELDS);
/** A HEADERS frame whose block goes on in a CONTINUATION. */
const openBlock = (id: number): Buffer => frame(FRAME_HEADERS, FLAG_END_STREAM, id, BLOCK.subarray(0, 10));
const restOfBlock = (id: number): Buffer => continuation(id, BLOCK.subarray(10), true);
/** Windows of 16 MiB for the connection and each stream. */
const wideStart = Buffer.concat([clientStart([4, 16_777_216]), windowUpdate(0, 16_777_216)]);

async function reply(driven: DrivenConnection, bytes: number): Promise<Http2Stream> {
  const id = 2 * driven.streams.length + 1;
  driven.connection.data(request(id, true));
  const stream = driven.streams.at(-1) as Http2Stream;
  driven.connection.engine.sendData(stream, Buffer.alloc(bytes), false);
  driven.connection.scheduleFlush();
  await turns(2);
  return stream;
}

describe("a throw in one connection's turn", () => {
  it("is nobody else's: the rest of its events is dropped, not given to the next connection", () => {
    const world = manualWorld();
    const [bad, good] = [drivenConnection(world), drivenConnection(world)];
    bad.failNext = new Error("a defect");
    bad.connection.data(Buffer.concat([request(1, true), request(3, true), request(5, true)]));
    good.connection.data(request(1, true));
    assert.deepEqual(
      [bad.streams.length, good.streams.map(({ id }) => id)],
      [0, [1]],
      "each connection's calls are its own",
    );
    assert.deepEqual([bad.socket.isDestroyed, bad.connection.isClosed], [true, true]);
    assert.deepEqual([good.socket.isDestroyed, good.connection.isClosed], [false, false]);
  });

  it("cuts that connection, and all its streams' owners are told why, also those after one that throws again", () => {
    const driven = drivenConnection();
    driven.connection.data(Buffer.concat([request(1), request(3), request(5)]));
    const told: string[][] = [[], [], []];
    driven.streams.forEach((stream, i) => {
      stream.owner = {
        ...notingOwner(told[i] as string[]),
        onData() {
          throw new Error("a defect");
        },
      };
    });
    (driven.streams[1] as Http2Stream).owner = {
      ...notingOwner([]),
      onReset() {
        throw new Error("another defect");
      },
    };
    driven.connection.data(data(1, 10));
    const text = "the connection's owner threw: a defect";
    assert.deepEqual(told, [[text], [], [text]]);
    assert.ok(driven.socket.isDestroyed);
  });

  it("at the end of a turn, when output was taken, ends no process either", async () => {
    const world = manualWorld();
    const [bad, good] = [drivenConnection(world, { start: wideStart }), drivenConnection(world)];
    bad.connection.data(Buffer.concat([request(1), request(3)]));
    const told: string[] = [];
    const [first, second] = bad.streams as [Http2Stream, Http2Stream];
    first.owner = notingOwner([], () => {
      throw new Error("a defect");
    });
    second.owner = notingOwner(told);
    bad.connection.engine.sendData(first, Buffer.alloc(200_000), false);
    bad.connection.scheduleFlush();
    await turns(3);
    assert.deepEqual(told, ["the connection's owner threw: a defect"]);
    assert.ok(bad.socket.isDestroyed);
    good.connection.data(request(1, true));
    assert.equal(good.streams.length, 1);
    assert.equal(good.connection.runtime.events.length, 0);
  });

  it("or an end that an owner makes in the middle of a chunk lets nothing more of the chunk be handed on", () => {
    const driven = drivenConnection();
    driven.connection.data(request(1));
    const told: string[] = [];
    (driven.streams[0] as Http2Stream).owner = {
      ...notingOwner(told),
      onData: () => driven.connection.destroy("enough"),
    };
    driven.connection.data(Buffer.concat([data(1, 10), data(1, 10), request(3, true)]));
    assert.deepEqual(told, ["enough"]);
    assert.equal(driven.streams.length, 1);
    assert.equal(driven.connection.runtime.events.length, 0);
  });

  it("while a drained socket lets replies go on, cuts that connection alone", async () => {
    const driven = drivenConnection(manualWorld(), { start: wideStart });
    driven.socket.queuedBytes = 100_000;
    const stream = await reply(driven, 300_000);
    stream.owner = notingOwner([], () => {
      throw new Error("a defect");
    });
    driven.socket.queuedBytes = 0;
    driven.connection.drained();
    await turns(3);
    assert.ok(driven.socket.isDestroyed);
    assert.equal(driven.connection.runtime.events.length, 0);
  });
});

describe("a client that does not end its side", () => {
  it("has a second; until its socket has closed the connection counts", () => {
    const driven = drivenConnection();
    driven.connection.finish("over");
    assert.deepEqual([driven.socket.hasEnded, driven.socket.isDestroyed, driven.closings], [true, false, 0]);
    driven.world.advance(998);
    assert.equal(driven.socket.isDestroyed, false);
    driven.world.advance(4);
    assert.deepEqual([driven.socket.isDestroyed, driven.closings], [true, 0]);
    driven.connection.closed(undefined);
    driven.connection.closed(undefined);
    assert.equal(driven.closings, 1);
  });

  it("is read on meanwhile, into nothing, so that its end can arrive; then no timer is left", () => {
    const driven = drivenConnection();
    driven.socket.isPaused = true;
    driven.connection.finish("over");
    assert.equal(driven.socket.isPaused, false);
    driven.connection.data(request(1, true));
    assert.equal(driven.streams.length, 0);
    driven.connection.ended();
    driven.connection.closed(undefined);
    assert.equal(driven.connection.runtime.wheel.size, 0);
    driven.world.advance(5_000);
    assert.equal(driven.socket.isDestroyed, false);
  });

  it("after it sent its end but takes nothing more, is cut a second later too", () => {
    const driven = drivenConnection();
    driven.connection.ended();
    assert.deepEqual([driven.connection.isClosed, driven.socket.hasEnded], [true, true]);
    driven.world.advance(1_002);
    assert.ok(driven.socket.isDestroyed);
  });

  it("can be cut at once while its second runs", () => {
    const driven = drivenConnection();
    driven.connection.finish("over");
    driven.connection.destroy("now");
    assert.ok(driven.socket.isDestroyed);
  });
});

describe("a client that takes its time", () => {
  it("with preface and SETTINGS is cut after 5 s", () => {
    const driven = drivenConnection(manualWorld(), { isSilent: true });
    driven.connection.data(clientStart().subarray(0, 20));
    driven.world.advance(4_998);
    assert.equal(driven.socket.isDestroyed, false);
    driven.world.advance(4);
    assert.ok(driven.socket.isDestroyed);
  });

  it("with the rest of a header block is cut after 10 s, whatever else it sends", () => {
    const driven = drivenConnection();
    driven.connection.data(openBlock(1));
    for (let i = 1; i < 8; i++) {
      driven.world.advance(1_249);
      driven.connection.data(continuation(1, BLOCK.subarray(9 + i, 10 + i), false));
    }
    assert.equal(driven.socket.isDestroyed, false);
    driven.world.advance(1_260);
    assert.ok(driven.socket.isDestroyed);
  });

  it("with one header block is not cut for another that it has begun since", () => {
    const driven = drivenConnection();
    driven.connection.data(openBlock(1));
    driven.world.advance(6_000);
    driven.connection.data(Buffer.concat([restOfBlock(1), openBlock(3)]));
    driven.world.advance(6_000);
    assert.equal(driven.socket.isDestroyed, false, "the second block is 6 s old");
    driven.connection.data(restOfBlock(3));
    driven.world.advance(20_000);
    assert.equal(driven.socket.isDestroyed, false, "no block is open");
    assert.equal(driven.streams.length, 2);
  });
});

describe("a client that does not read", () => {
  it("is cut 30 s after the socket filled, though it says nothing", async () => {
    const driven = drivenConnection(manualWorld(), { start: wideStart });
    driven.socket.queuedBytes = 65_536;
    await reply(driven, 1_000);
    driven.world.advance(29_990);
    assert.equal(driven.socket.isDestroyed, false);
    driven.world.advance(20);
    assert.ok(driven.socket.isDestroyed);
  });

  it("is kept if the socket drains before the 30 s are over, again and again", async () => {
    const driven = drivenConnection(manualWorld(), { start: wideStart });
    for (let i = 0; i < 5; i++) {
      driven.socket.queuedBytes = 65_536;
      await reply(driven, 1_000);
      driven.world.advance(25_000);
      driven.socket.queuedBytes = 0;
      driven.connection.drained();
      await turns(2);
    }
    driven.world.advance(60_000);
    assert.equal(driven.socket.isDestroyed, false);
  });

  it("is not read either while 256 KiB wait for it, until they have gone", async () => {
    const driven = drivenConnection();
    driven.socket.queuedBytes = 262_143;
    driven.connection.data(request(1, true));
    driven.connection.data(ping());
    await turns(2);
    assert.equal(driven.socket.isPaused, false);
    driven.socket.queuedBytes = 262_144;
    driven.connection.data(ping("abcdefgh"));
    await turns(2);
    assert.equal(driven.socket.isPaused, true);
    driven.socket.queuedBytes = 0;
    driven.connection.drained();
    assert.equal(driven.socket.isPaused, false);
  });
});

describe("a client that gives no window", () => {
  const isOver = (driven: DrivenConnection): boolean => driven.socket.isDestroyed;

  it("for much that waits is cut 30 s later, however many small windows it dribbles", async () => {
    const driven = drivenConnection();
    await reply(driven, 1_000_000);
    for (let second = 0; second < 30; second++) {
      assert.equal(isOver(driven), false, `after ${second} s`);
      driven.world.advance(1_000);
      if (isOver(driven)) break;
      driven.connection.data(Buffer.concat([windowUpdate(0, 500), windowUpdate(1, 500)]));
      await turns(1);
    }
    driven.world.advance(10_000);
    assert.ok(isOver(driven));
  });

  it("is kept as long as what waits moves by 16 KiB in 30 s", async () => {
    const driven = drivenConnection();
    await reply(driven, 1_000_000);
    for (let i = 0; i < 20; i++) {
      driven.world.advance(9_000);
      driven.connection.data(Buffer.concat([windowUpdate(0, 8_192), windowUpdate(1, 8_192)]));
      await turns(1);
    }
    assert.equal(isOver(driven), false);
  });

  it("begins anew once all that waited has gone", async () => {
    const driven = drivenConnection();
    for (let i = 0; i < 5; i++) {
      await reply(driven, 300_000);
      driven.world.advance(25_000);
      const id = (driven.streams.at(-1) as Http2Stream).id;
      driven.connection.data(Buffer.concat([windowUpdate(0, 300_000), windowUpdate(id, 300_000)]));
      await turns(3);
      assert.equal(driven.connection.engine.queuedBytes, 0);
    }
    driven.world.advance(100_000);
    assert.equal(isOver(driven), false);
  });

  it("begins anew after little that waited too, though it is asked for more in the same moment", async () => {
    const driven = drivenConnection();
    const stream = await reply(driven, 65_535);
    for (let i = 0; i < 12; i++) {
      driven.connection.engine.sendData(stream, Buffer.alloc(1_000), false);
      driven.connection.scheduleFlush();
      await turns(1);
      assert.equal(driven.connection.engine.queuedBytes, 1_000);
      driven.world.advance(99_000);
      driven.connection.data(Buffer.concat([windowUpdate(0, 1_000), windowUpdate(1, 1_000)]));
      await turns(2);
    }
    assert.equal(isOver(driven), false);
  });

  it("because its reader takes its time over little is kept for ten minutes, not for ever", async () => {
    const driven = drivenConnection();
    await reply(driven, 65_535 + 1_000);
    for (let i = 0; i < 59; i++) {
      driven.world.advance(10_000);
      driven.connection.data(ping(String(10_000_000 + i), FLAG_ACK));
    }
    assert.equal(isOver(driven), false);
    driven.world.advance(21_000);
    assert.ok(isOver(driven));
  });
});

describe("a client that vanished", () => {
  const pings = (driven: DrivenConnection): number =>
    driven.socket.frames().filter(({ type, flags }) => type === FRAME_PING && (flags & FLAG_ACK) === 0).length;

  it("is asked by a PING after 330 s of silence, without a call too, and cut 20 s later", async () => {
    const driven = drivenConnection();
    driven.world.advance(329_990);
    await turns(2);
    assert.equal(pings(driven), 0);
    driven.world.advance(20);
    await turns(2);
    assert.equal(pings(driven), 1);
    driven.world.advance(19_970);
    assert.equal(driven.socket.isDestroyed, false);
    driven.world.advance(40);
    assert.ok(driven.socket.isDestroyed);
  });

  it("is none that answers, or says anything else: it is asked again after as long a silence", async () => {
    const driven = drivenConnection();
    for (let round = 0; round < 4; round++) {
      driven.world.advance(330_005);
      await turns(2);
      const [asked] = driven.socket.frames().filter(({ type }) => type === FRAME_PING);
      assert.ok(asked !== undefined, `round ${round}`);
      driven.world.advance(19_000);
      driven.connection.data(
        round % 2 === 0 ? frame(FRAME_PING, FLAG_ACK, 0, asked.payload) : request(2 * round + 1, true),
      );
    }
    driven.world.advance(300_000);
    assert.equal(driven.socket.isDestroyed, false);
  });

  it("is none that we do not read", async () => {
    const driven = drivenConnection();
    driven.world.advance(320_000);
    driven.socket.queuedBytes = 262_144;
    driven.connection.scheduleFlush();
    await turns(2);
    assert.ok(driven.socket.isPaused);
    driven.world.advance(15_000);
    await turns(2);
    assert.equal(pings(driven), 0);
  });
});

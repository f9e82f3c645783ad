import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { nodeTimers } from "./node-timers.ts";

/** Runs a module in a process of its own: what is asked is when that process ends, and how. */
function run(code: string): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  const module = JSON.stringify(new URL("./node-timers.ts", import.meta.url).href);
  const text = `import { nodeTimers } from ${module};\n${code}`;
  const done = spawnSync(process.execPath, ["--input-type=module", "-e", text], { encoding: "utf8", timeout: 20_000 });
  return { status: done.status, stdout: done.stdout, stderr: done.stderr };
}

describe("Node's timers", () => {
  it("never fire early, fractions of a millisecond included", async () => {
    // A socket or listener keeps a real process alive; here it is this interval.
    const alive = setInterval(() => {}, 1000);
    await Promise.all(
      Array.from({ length: 40 }, (_, index) => {
        const delayMs = 0.3 + index * 0.77;
        const startMs = performance.now();
        return new Promise<void>((resolve) => {
          nodeTimers.schedule(delayMs, () => {
            const tookMs = performance.now() - startMs;
            assert.ok(tookMs >= delayMs, `${tookMs} of ${delayMs}`);
            resolve();
          });
        });
      }),
    );
    clearInterval(alive);
  });

  it("fire in the next turn for a delay of 0, not in this one", async () => {
    const order: string[] = [];
    const fired = new Promise<void>((resolve) => {
      nodeTimers.schedule(0, () => {
        order.push("fired");
        resolve();
      });
    });
    order.push("after schedule");
    await fired;
    assert.deepEqual(order, ["after schedule", "fired"]);
  });

  it("fire in the next turn for a delay of 0 though a timer asked, and nothing else is to come for long", () => {
    const done = run(`
      const alive = setInterval(() => {}, 10_000);
      setTimeout(() => {
        const askedMs = performance.now();
        nodeTimers.schedule(0, () => {
          console.log(performance.now() - askedMs < 5_000 ? "at once" : "with the next that came");
          clearInterval(alive);
        });
      }, 50);
    `);
    assert.deepEqual([done.status, done.stdout], [0, "at once\n"], done.stderr);
  });

  it("do not fire once cancelled, and may be cancelled twice and from inside", async () => {
    const fired: string[] = [];
    const soon = nodeTimers.schedule(0, () => fired.push("soon"));
    const later = nodeTimers.schedule(1, () => fired.push("later"));
    soon.cancel();
    soon.cancel();
    later.cancel();
    later.cancel();
    await new Promise<void>((resolve) => {
      const alive = setTimeout(() => {}, 1000);
      const last = nodeTimers.schedule(3, () => {
        last.cancel();
        clearTimeout(alive);
        resolve();
      });
    });
    assert.deepEqual(fired, []);
  });

  it("wait longer than setTimeout can", async () => {
    let isFired = false;
    const timer = nodeTimers.schedule(2 ** 40, () => {
      isFired = true;
    });
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
    timer.cancel();
    assert.equal(isFired, false);
  });

  it("do not keep the process alive, while the end of a turn does", () => {
    const done = run(`
      nodeTimers.schedule(60_000, () => console.log("minute"));
      nodeTimers.afterTurn(() => nodeTimers.afterTurn(() => console.log("second turn")));
    `);
    assert.deepEqual([done.status, done.stdout], [0, "second turn\n"], done.stderr);
  });

  it("run the end of a turn after all promise reactions, in order, each once", async () => {
    const order: number[] = [];
    await new Promise<void>((resolve) => {
      nodeTimers.afterTurn(() => order.push(3));
      nodeTimers.afterTurn(() => {
        order.push(4);
        nodeTimers.afterTurn(() => {
          order.push(5);
          resolve();
        });
      });
      void (async () => {
        for (let i = 0; i < 20; i += 1) await Promise.resolve();
        order.push(2);
      })();
      order.push(1);
    });
    assert.deepEqual(order, [1, 2, 3, 4, 5]);
  });

  it("lose no end of a turn when one throws", () => {
    const done = run(`
      process.on("uncaughtException", (error) => console.log("uncaught", error.message));
      for (const name of ["a", "b", "c", "d"]) {
        nodeTimers.afterTurn(() => {
          console.log(name);
          if (name < "c") throw new Error(name);
          if (name === "c") nodeTimers.afterTurn(() => console.log("e"));
        });
      }
    `);
    assert.equal(done.stdout, "a\nuncaught a\nb\nuncaught b\nc\nd\ne\n", done.stderr);
    assert.equal(done.status, 0);
  });
});

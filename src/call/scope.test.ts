import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { nodeWorld } from "../world/node.ts";
import { CallScope, type ScopeChild, scopes } from "./scope.ts";

class Child implements ScopeChild {
  scopePrevious: ScopeChild | undefined;
  scopeNext: ScopeChild | undefined;
  readonly reasons: unknown[];
  onCancelled: (() => void) | undefined;

  constructor() {
    this.scopePrevious = undefined;
    this.scopeNext = undefined;
    this.reasons = [];
    this.onCancelled = undefined;
  }
  scopeCancelled(reason: unknown): void {
    this.reasons.push(reason);
    this.onCancelled?.();
  }
}

const scopeOf = (): CallScope => new CallScope(nodeWorld.clock);

describe("a scope", () => {
  it("cancels each child once with the reason, and itself once", () => {
    const scope = scopeOf();
    const children = [new Child(), new Child(), new Child()];
    for (const child of children) scope.addChild(child);
    scope.cancel("first");
    scope.cancel("second");
    assert.deepEqual(
      children.map(({ reasons }) => reasons),
      [["first"], ["first"], ["first"]],
    );
    assert.equal(scope.cancelReason, "first");
    assert.equal(scope.isCancelled, true);
  });

  it("makes its signal when it is asked for, before or after it was cancelled", () => {
    const early = scopeOf();
    const { signal } = early;
    assert.equal(early.signal, signal);
    assert.equal(signal.aborted, false);
    early.cancel("why");
    assert.equal(signal.reason, "why");
    const late = scopeOf();
    late.cancel("why");
    assert.equal(late.signal.reason, "why");
  });

  it("has those children that were added and not removed, whatever the order", () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(9)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (moves) => {
        const scope = scopeOf();
        const children = Array.from({ length: 10 }, () => new Child());
        const inside = new Set<Child>();
        for (const [isAdded, at] of moves) {
          const child = children[at] as Child;
          if (isAdded && !inside.has(child)) {
            scope.addChild(child);
            inside.add(child);
          } else if (!isAdded) {
            scope.removeChild(child);
            inside.delete(child);
          }
        }
        scope.cancel("x");
        for (const child of children) assert.equal(child.reasons.length, inside.has(child) ? 1 : 0);
      }),
    );
  });

  it("lets a child remove itself while it is cancelled, as calls do", () => {
    const scope = scopeOf();
    const children = [new Child(), new Child(), new Child()];
    for (const child of children) {
      child.onCancelled = () => scope.removeChild(child);
      scope.addChild(child);
    }
    scope.cancel("x");
    assert.deepEqual(
      children.map(({ reasons }) => reasons.length),
      [1, 1, 1],
    );
  });

  it("is found by everything that runs inside it, and by nothing outside", async () => {
    const scope = scopeOf();
    await scopes.run(scope, async () => {
      assert.equal(scopes.getStore(), scope);
      await Promise.resolve();
      assert.equal(scopes.getStore(), scope);
      scopes.run(undefined, () => assert.equal(scopes.getStore(), undefined));
    });
    assert.equal(scopes.getStore(), undefined);
  });
});

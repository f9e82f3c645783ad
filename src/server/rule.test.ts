import assert from "node:assert/strict";
import { test } from "node:test";
import { checkRule, isAllowed } from "./rule.ts";

const call = (): never => {
  throw new Error("nobody asked for the call");
};
const ask = (rule: unknown, id: string | undefined): boolean | Promise<boolean> =>
  isAllowed(checkRule("authorize", rule), id === undefined ? undefined : { id }, call);

test("anyone, and whoever is known", () => {
  assert.equal(ask("anyone", undefined), true);
  assert.equal(ask("authenticated", undefined), false);
  assert.equal(ask("authenticated", "a"), true);
});

test("ids are compared as a whole; * is any run within a part, and at the end of all that follows", () => {
  assert.equal(ask(["a"], "a"), true);
  assert.equal(ask(["a"], "ab"), false);
  assert.equal(ask(["a"], "ba"), false);
  assert.equal(ask(["a", "b"], "b"), true);
  assert.equal(ask(["spiffe://shop/batch/*"], "spiffe://shop/batch/nightly/1"), true);
  assert.equal(ask(["spiffe://shop/batch/*"], "spiffe://shop/batch"), false);
  assert.equal(ask(["spiffe://*/batch"], "spiffe://shop/batch"), true);
  assert.equal(ask(["spiffe://*/batch"], "spiffe://evil/shop/batch"), false);
  assert.equal(ask(["a.c"], "abc"), false, "a dot is a dot");
  assert.equal(ask(["*"], undefined), false, "nobody is no id");
});

test("a line break in an id does not end the comparison", () => {
  assert.equal(ask(["a"], "a\nb"), false);
  assert.equal(ask(["a"], "b\na"), false);
});

test("a function decides; what is not true, throws or rejects is a no", async () => {
  const seen = { id: "a" };
  const rule = (answer: () => unknown) => checkRule("authorize", answer);
  const at = (answer: () => unknown) => isAllowed(rule(answer), seen, () => ({}) as never);
  assert.equal(
    at(() => true),
    true,
  );
  assert.equal(
    at(() => 1),
    false,
  );
  assert.equal(
    at(() => undefined),
    false,
  );
  assert.equal(
    at(() => {
      throw new Error("no");
    }),
    false,
  );
  assert.equal(await at(async () => true), true);
  assert.equal(await at(async () => "yes"), false);
  assert.equal(await at(() => Promise.reject(new Error("no"))), false);
});

test("what is no rule is refused by name", () => {
  for (const rule of ["everyone", [], [""], [1], 7, {}]) {
    assert.throws(
      () => checkRule("authorize.add", rule),
      /^TypeError: authorize\.add must be "anyone", "authenticated"/,
    );
  }
});

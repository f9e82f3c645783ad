/**
 * Plain data compared by content: whether two literals say the same. An object of another make (a Map, a class's instance) is never the same.
 */

/** Whether `given` has the keys and values of `known`, to any depth. Ends also if `given` refers to itself, for `known` cannot. */
export function isSameData(given: unknown, known: unknown): boolean {
  if (typeof given !== "object" || given === null || typeof known !== "object" || known === null) {
    return Object.is(given, known);
  }
  const prototype: unknown = Object.getPrototypeOf(given);
  if (prototype !== (Array.isArray(known) ? Array.prototype : Object.prototype)) return false;
  const keys = Object.keys(given);
  if (keys.length !== Object.keys(known).length) return false;
  for (const key of keys) {
    if (!Object.hasOwn(known, key) || !isSameData(read(given, key), read(known, key))) return false;
  }
  return true;
}

/** A copy that later changes do not reach. For data that was checked: it does not refer to itself. */
export function copyOfData(given: unknown): unknown {
  if (typeof given !== "object" || given === null) return given;
  if (Array.isArray(given)) return given.map(copyOfData);
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, copyOfData(value)]));
}

function read(data: object, key: string): unknown {
  return (data as Readonly<Record<string, unknown>>)[key];
}

/** The door `holdfast/durable`: where promises are kept. */
export type { Journal } from "./journal.ts";
export { memory, type MemoryOptions } from "./memory.ts";
export { sqlite, type SqliteOptions } from "./sqlite.ts";

/**
 * What the wire needs of a message's codec; `schema/` compiles them.
 */
export type { MessageCodec } from "../../schema/codec.ts";

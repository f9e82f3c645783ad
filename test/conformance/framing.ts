/** Messages on stdin and stdout, each after its length in four bytes, big-endian: how the runner speaks to what it tests. */
import type { Readable, Writable } from "node:stream";

/** The messages until the end of the stream; throws where it ends within one. */
export async function* readMessages(stream: Readable): AsyncGenerator<Uint8Array> {
  let held = Buffer.alloc(0);
  for await (const chunk of stream) {
    held = Buffer.concat([held, chunk as Buffer]);
    while (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
      const end = 4 + held.readUInt32BE(0);
      yield held.subarray(4, end);
      held = held.subarray(end);
    }
  }
  if (held.length > 0) throw new Error(`the input ends within a message: ${held.length} bytes are left`);
}

export function writeMessage(stream: Writable, message: Uint8Array): void {
  const frame = Buffer.alloc(4 + message.length);
  frame.writeUInt32BE(message.length, 0);
  frame.set(message, 4);
  stream.write(frame);
}

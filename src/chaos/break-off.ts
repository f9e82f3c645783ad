/** Ends a byte stream as rudely as the network lets us: with a reset where its sockets have one, else by a cut. */
import type { Socket } from "../world/network.ts";

/** The other side hears a reset (ECONNRESET), or, where sockets cannot reset, that the stream is over. */
export function breakOff(socket: Socket): void {
  if (socket.reset === undefined) socket.destroy();
  else socket.reset();
}

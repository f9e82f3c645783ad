/** A thread that gives back, together, all messages that have arrived at once; "throw" and "close" do what they say. */
import { env, execArgv } from "node:process";
import { workerSide } from "../node-worker.ts";

const side = workerSide();
side.post({ data: side.data, flags: execArgv, variables: Object.keys(env) }, []);
side.receive((messages) => {
  if (messages.includes("throw")) throw new Error("as asked");
  const [first] = messages;
  if (first instanceof Uint8Array) side.post(first, [first.buffer as ArrayBuffer]);
  else side.post(messages, []);
  if (messages.includes("close")) side.close();
});

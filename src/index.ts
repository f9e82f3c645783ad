/**
 * Holdfast: fault-tolerant RPC for TypeScript. The front door.
 */
export type { Call } from "./call/call.ts";
export type { Code } from "./call/code.ts";
export { RpcError } from "./call/error.ts";
export type { Interceptor } from "./call/interceptor.ts";
export type { Metadata } from "./call/metadata.ts";
export type { Effect } from "./call/method.ts";
export { type Channel, createChannel } from "./client/channel.ts";
export { currentCall, detach, within } from "./client/context.ts";
export { createClient } from "./client/create-client.ts";
export type { Client } from "./client/make-client.ts";
export type { CallOptions, ChannelOptions, ClientOptions } from "./client/options.ts";
export { pipe } from "./client/pipe.ts";
export type { Stream } from "./client/reply-stream.ts";
export type { Policy } from "./client/policy/policy.ts";
export { annotate, type Contract } from "./schema/contract.ts";
export { defineError } from "./schema/define-error.ts";
export { createServer, type Handlers, type Server } from "./server/create-server.ts";
export type { HandlerCall } from "./server/handler-call.ts";
export type { ServerOptions } from "./server/options.ts";

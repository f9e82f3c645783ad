/**
 * A service whose unary method is of effect once, for tests of what a server keeps: real servers and clients, journals that are looked into,
 * and stores that fail when a test says so.
 */
import {
  type ChannelOptions,
  type Client,
  type ClientOptions,
  createClient,
  createServer,
  type Handlers,
  type Server,
  type ServerOptions,
} from "holdfast";
import type { Journal } from "holdfast/durable";
import type { CallRecord } from "../../src/call/event.ts";
import type { DedupSnapshot, DedupStore } from "../../src/durable/dedup-store.ts";
import { memory } from "../../src/durable/memory.ts";
import { nodeWorld } from "../../src/world/node.ts";
import { OnceProbe } from "./once-scene.ts";

export { OnceProbe };
export type OnceHandlers<Tx = never> = Handlers<typeof OnceProbe, { readonly id: string }, Tx>;
export type OnceClient = Client<typeof OnceProbe>;
type OnceServerOptions<Tx> = ServerOptions<{ readonly id: string }, Tx>;

export const onceHandlers: OnceHandlers = {
  unary: ({ body }) => ({ body }),
  *download({ replyCount }) {
    for (let index = 0; index < replyCount; index++) yield { index };
  },
  upload: () => ({}),
  chat: () => [],
  seen: () => ({}),
  missing: () => ({}),
};

/** A server of the service that hears no signal of the process. */
export function onceServer<Tx = never>(
  handlers: Partial<OnceHandlers<Tx>>,
  options: OnceServerOptions<Tx> = {},
  onUnknown: "refuse" | "rerun" = "refuse",
): Server<{ readonly id: string }, Tx> {
  const all = { ...onceHandlers, ...handlers } as OnceHandlers<Tx>;
  const server = createServer<{ readonly id: string }, Tx>({ drain: { signals: [] }, ...options });
  return server.service(OnceProbe, all, { onUnknown: { unary: onUnknown } });
}

export interface OnceOptions<Tx> {
  readonly server?: OnceServerOptions<Tx> | undefined;
  readonly client?: (ClientOptions<typeof OnceProbe> & ChannelOptions) | undefined;
}

/** A server on loopback, a client of one attempt each, and what the client's calls were. */
export interface OncePair<Tx> extends AsyncDisposable {
  readonly server: Server<{ readonly id: string }, Tx>;
  readonly address: string;
  readonly client: OnceClient;
  readonly records: readonly CallRecord[];
  /** Another client of the same server, closed with the pair. */
  connect(options?: ClientOptions<typeof OnceProbe> & ChannelOptions): OnceClient;
}

export async function startOnce<Tx = never>(
  handlers: Partial<OnceHandlers<Tx>>,
  options: OnceOptions<Tx> = {},
): Promise<OncePair<Tx>> {
  const server = onceServer(handlers, options.server);
  const { address } = await server.listen(0);
  const clients: OnceClient[] = [];
  const records: CallRecord[] = [];
  const connect = (given?: ClientOptions<typeof OnceProbe> & ChannelOptions): OnceClient => {
    // One attempt, so that a test sees what one attempt does; those about several say so.
    const client = createClient(OnceProbe, address, { policy: { retry: false }, ...given });
    client.$on("call.ended", ({ record }) => records.push(record));
    clients.push(client);
    return client;
  };
  const client = connect(options.client);
  return {
    server,
    address,
    client,
    records,
    connect,
    async [Symbol.asyncDispose]() {
      for (const each of clients) await each.$close({ timeoutMs: 0 });
      await server.close({ timeoutMs: 0 });
    },
  };
}

/** A journal in memory that a test looks into. */
export interface SeenJournal extends Journal {
  snapshot(): DedupSnapshot;
  /** How often it was closed. */
  readonly closings: number;
}

/** What `change` makes of the store's operations; the rest is the store's own. */
export function seenJournal(change: (store: DedupStore) => Partial<DedupStore> = () => ({})): SeenJournal {
  const own = memory();
  const store = own["~dedup"](nodeWorld);
  const changed = change(store);
  let closings = 0;
  return {
    scope: "process",
    "~dedup": () => ({
      scope: store.scope,
      storeId: store.storeId,
      open: () => store.open(),
      claim: (key) => store.claim(key),
      finish: (entry, answer) => store.finish(entry, answer),
      forget: (entry) => store.forget(entry),
      close: () => store.close(),
      snapshot: () => store.snapshot(),
      ...changed,
    }),
    snapshot: () => store.snapshot(),
    get closings() {
      return closings;
    },
    async [Symbol.asyncDispose]() {
      closings += 1;
    },
  };
}

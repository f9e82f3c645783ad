import { createCluster } from "../../src/testing/index.ts";
import { probe, SafeProbe, timed } from "./probe-cluster.ts";
for (const withSlow of [false, true]) for (const size of [10, 70, 100, 200]) {
  const cluster = createCluster();
  cluster.serve("shop", 1, (server) => probe(server, {
      async *download({ replyCount }) { for (let index = 0; index < replyCount; index++) yield { index, body: Buffer.alloc(1024) }; },
  }));
  const client = cluster.client(SafeProbe, "shop");
  if (withSlow) { const slow = client.download({ replyCount: 10_000 })[Symbol.asyncIterator](); await cluster.settle(slow.next()); await cluster.advance(5000); }
  const r = await timed(cluster, client.unary({ body: Buffer.alloc(size*1024) }));
  console.log(withSlow, size, r.tookMs, String(r.error), r.value?.body.length);
  await cluster[Symbol.asyncDispose]();
}

/** The order that the `order` scenario sends and gets back: about half a KiB on the wire. */
export const order = {
  id: "ord_01J9Z3M8Q4T7V2X5",
  customer: { id: "cus_48213", name: "Margarethe Grünwald", email: "m.gruenwald@example.org", country: "AT" },
  items: [
    { sku: "TEA-0012", title: "Assam, second flush, 250 g", quantity: 2, priceCents: 1_490n, taxRate: 0.1 },
    { sku: "TEA-0047", title: "Sencha, first harvest, 100 g", quantity: 1, priceCents: 1_890n, taxRate: 0.1 },
    { sku: "POT-0003", title: "Iron pot, 0.8 l", quantity: 1, priceCents: 6_900n, taxRate: 0.2 },
    { sku: "CUP-0110", title: "Cup, porcelain", quantity: 6, priceCents: 850n, taxRate: 0.2 },
    { sku: "STR-0001", title: "Strainer", quantity: 1, priceCents: 490n, taxRate: 0.2 },
  ],
  attributes: { channel: "web", campaign: "autumn-26", locale: "de-AT" },
  createdAtMs: 1_763_650_000_000n,
  updatedAtMs: 1_763_650_004_211n,
  status: 1 as const,
  warehouseIds: [3, 17, 204],
  currency: "EUR",
  totalCents: 17_360n,
  gift: false,
};

/** `order` with numbers where it has bigints, for codecs that take those. */
export const orderWithNumbers = {
  ...order,
  items: order.items.map((item) => ({ ...item, priceCents: Number(item.priceCents) })),
  createdAtMs: Number(order.createdAtMs),
  updatedAtMs: Number(order.updatedAtMs),
  totalCents: Number(order.totalCents),
};

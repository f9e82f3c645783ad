/** When which server had how much: counts in bins of 20 ms, from which its share in any stretch of time is worked out afterwards. */
const BIN_MS = 20;

export class Timeline {
  readonly #servers: number;
  readonly #sinceMs: number;
  readonly #bins: number;
  readonly #counts: Uint32Array;

  /** For `servers` servers from `sinceMs` on, over `lastsMs`; what comes later is not counted. */
  constructor(servers: number, sinceMs: number, lastsMs: number) {
    this.#servers = servers;
    this.#sinceMs = sinceMs;
    this.#bins = Math.ceil(lastsMs / BIN_MS);
    this.#counts = new Uint32Array(this.#bins * servers);
  }

  note(server: number, atMs: number): void {
    const bin = Math.floor((atMs - this.#sinceMs) / BIN_MS);
    if (bin < 0 || bin >= this.#bins) return;
    const at = bin * this.#servers + server;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  /** Whether the server has had any since then. */
  hasAny(server: number, sinceMs: number): boolean {
    const first = Math.max(0, Math.ceil((sinceMs - this.#sinceMs) / BIN_MS));
    for (let at = first * this.#servers + server; at < this.#counts.length; at += this.#servers) {
      if ((this.#counts[at] ?? 0) > 0) return true;
    }
    return false;
  }

  /**
   * When the first stretch of `stretchMs` between two moments ends in which the server's part, against a fair share of 1, was as asked; NaN
   * if there is none. A stretch with less than `countMin` of all servers says nothing.
   */
  firstStretch(
    server: number,
    stretch: { readonly fromMs: number; readonly untilMs: number; readonly lastsMs: number; readonly countMin: number },
    isAsked: (part: number) => boolean,
  ): number {
    const width = Math.max(1, Math.round(stretch.lastsMs / BIN_MS));
    const first = Math.max(0, Math.ceil((stretch.fromMs - this.#sinceMs) / BIN_MS));
    const last = Math.min(this.#bins, Math.floor((stretch.untilMs - this.#sinceMs) / BIN_MS));
    for (let bin = first; bin + width <= last; bin += 1) {
      const { own, all } = this.#sum(server, bin, bin + width);
      if (all >= stretch.countMin && isAsked((own * this.#servers) / all))
        return this.#sinceMs + (bin + width) * BIN_MS;
    }
    return Number.NaN;
  }

  #sum(server: number, from: number, to: number): { readonly own: number; readonly all: number } {
    let own = 0;
    let all = 0;
    for (let at = from * this.#servers; at < to * this.#servers; at += 1) {
      const count = this.#counts[at] ?? 0;
      all += count;
      if (at % this.#servers === server) own += count;
    }
    return { own, all };
  }
}

/** So many at once; who comes later waits for its turn. As a pool of connections does it: it refuses nobody, and knows no deadline. */
export class Permits {
  readonly #waiting: (() => void)[];
  #free: number;

  constructor(count: number) {
    this.#waiting = [];
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/**
 * The ids of the streams that ended most recently, so that a late frame can be told from a wrong one without keeping
 * streams. Searched only on the rare path.
 */
export class RecentIds {
  readonly #ids: Int32Array;
  #next: number;

  constructor(size: number) {
    this.#ids = new Int32Array(size);
    this.#next = 0;
  }

  add(id: number): void {
    this.#ids[this.#next] = id;
    this.#next = this.#next + 1 === this.#ids.length ? 0 : this.#next + 1;
  }
  has(id: number): boolean {
    return this.#ids.includes(id);
  }
}

/**
 * The ids of the streams that ended most recently, so that a late frame can be told from a wrong one without keeping
 * streams. Searched only on the rare path.
 */
export class RecentIds {
  readonly #size: number;
  /** Made for the first id, so that an idle connection has none. */
  #ids: Int32Array | undefined;
  #next: number;

  constructor(size: number) {
    this.#size = size;
    this.#ids = undefined;
    this.#next = 0;
  }

  add(id: number): void {
    this.#ids ??= new Int32Array(this.#size);
    this.#ids[this.#next] = id;
    this.#next = this.#next + 1 === this.#size ? 0 : this.#next + 1;
  }
  has(id: number): boolean {
    return this.#ids?.includes(id) === true;
  }
}

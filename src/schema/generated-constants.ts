/**
 * Values that generated source needs and cannot spell: coders of nested types, plans, zero values.
 */

/** The values in the order of their names: k0, k1 and so on. */
export class Constants {
  readonly values: unknown[] = [];

  /** The name under which the source finds the value. */
  nameOf(value: unknown): string {
    const known = this.values.indexOf(value);
    const index = known >= 0 ? known : this.values.push(value) - 1;
    return `k${index}`;
  }
}

/**
 * How the compiler refuses a setting and says why.
 */
declare const refused: unique symbol;

/** A type nobody can make: its text is the reason the compiler prints. */
export interface Refused<Why extends string> {
  readonly [refused]: Why;
}

/** The user's mistake on the command line: told without a stack, with exit code 2. */

/** What was wrong, in a sentence that names the flag, what it may be and what was given. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

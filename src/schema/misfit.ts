/**
 * A refusal with its place: what interpreted coders throw. The path is put together from the inside out, on the way up.
 */
import { Refusal } from "./invalid-message.ts";

/** A value that was refused, and where it stands. */
export class Misfit extends Error {
  /** From the outside in: `["items", "[2]", "quantity"]`. */
  readonly path: string[];
  readonly problem: string;
  constructor(path: string[], problem: string) {
    super(problem);
    this.path = path;
    this.problem = problem;
  }
}

/** Puts one step of the path in front of what was thrown. Errors that are not ours pass. */
export function misfit(error: unknown, step: string, problem: () => string): unknown {
  if (error instanceof Misfit) {
    error.path.unshift(step);
    return error;
  }
  return error instanceof Refusal ? new Misfit([step], problem()) : error;
}

/**
 * HTTP by Node's own `fetch`. The global is looked up at each call, so that what tests and instrumentation put in its place is used.
 */

/** The shape of the global `fetch`. */
export type Fetch = typeof fetch;

export const nodeFetch: Fetch = (input, init) => fetch(input, init);

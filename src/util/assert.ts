/** A bug in Varve, never bad input and never bad bytes. */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new Error(`varve: broken invariant: ${invariant}`)
}

export function unreachable(value: never): never {
  throw new Error(`varve: unexpected ${JSON.stringify(value)}`)
}

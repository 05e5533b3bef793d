/** What the batch at a position writes: every kind of operation, over few keys. */
export function opsAt(position) {
  const key = `key ${position % 37}`
  const value = `${position} ${'x'.repeat(60 + (position % 5) * 20)}`
  if (position % 11 === 0) return [{ type: 'del', key }]
  if (position % 13 === 0) {
    return [0, 1, 2].map((i) => ({ type: 'put', key: `batch ${(position + i) % 7}`, value }))
  }
  return [{ type: 'put', key, value }]
}

/** Everything that a store holds after that many positions. */
export function contentsAfter(position) {
  const contents = new Map()
  for (let at = 1; at <= position; at++) {
    for (const op of opsAt(at)) {
      if (op.type === 'put') contents.set(op.key, op.value)
      else contents.delete(op.key)
    }
  }
  return contents
}

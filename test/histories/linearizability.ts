/** One call of a client on one key. Times are steps of one clock: nothing else is known of their order. */
export interface Call {
  readonly client: number
  readonly key: string
  readonly kind: 'get' | 'put' | 'del' | 'replace'
  /** What was written. */
  readonly value?: string | undefined
  /** What a get answered, or what a `replace` found before: undefined for nothing. */
  readonly seen?: string | undefined
  readonly from: number
  /** Infinity: nobody knows whether it happened, and if, when. */
  readonly to: number
}

/**
 * Whether the calls on one key can be put in an order, each at one moment between its call and its answer, in which
 * every answer is right (Wing and Gong, with Lowe's memory of configurations). Undecided calls may be left out.
 */
export function isLinearizable(calls: readonly Call[]): boolean {
  const sorted = [...calls].sort((a, b) => a.from - b.from)
  const seen = new Set<string>()
  const visit = (done: bigint, value: string | undefined): boolean => {
    const key = `${done}/${value ?? ''}/${value === undefined}`
    if (seen.has(key)) return false
    seen.add(key)
    const left = sorted.map((call, i) => ({ call, i })).filter(({ i }) => !(done & (1n << BigInt(i))))
    if (left.every(({ call }) => call.to === Number.POSITIVE_INFINITY)) return true
    const firstEnd = Math.min(...left.map(({ call }) => call.to))
    for (const { call, i } of left) {
      if (call.from > firstEnd) break
      const next = apply(call, value)
      if (next && visit(done | (1n << BigInt(i)), next.value)) return true
    }
    return false
  }
  return visit(0n, undefined)
}

/** The value afterwards; undefined if the call can't have happened here. */
function apply(call: Call, value: string | undefined): { readonly value: string | undefined } | undefined {
  const isUndecided = call.to === Number.POSITIVE_INFINITY
  switch (call.kind) {
    case 'get':
      return isUndecided || call.seen === value ? { value } : undefined
    case 'put':
      return { value: call.value }
    case 'del':
      return { value: undefined }
    case 'replace':
      return call.seen === value ? { value: call.value } : undefined
  }
}

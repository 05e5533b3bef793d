/**
 * An array of these, as a literal would make it, but always among the young objects. V8 counts how many of a literal's
 * arrays outlive a small collection; where that are many, as in a scan that gives a thousand entries at a time while
 * the heap is small, it makes the later ones old at once, for good. Each then keeps what it holds until a large
 * collection: scans and seeks took twice as long in most processes. Arrays of rest parameters are not counted.
 */
export function youngArray<T extends unknown[]>(...items: T): T {
  return items
}

import { isDeepStrictEqual } from 'node:util'
import { expect } from 'vitest'

/** As `expect(found, what).toEqual(expected)`, which compares buffers byte by byte: for what runs a million times. */
export function expectSame(found: unknown, expected: unknown, what?: string): void {
  if (!isDeepStrictEqual(found, expected)) expect(found, what).toEqual(expected)
}

import { getHeapSpaceStatistics } from 'node:v8'

/** Bytes of memory of the process without V8's young generation, which grows to its limit whatever is read. */
export function residentBytes(): number {
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
  return process.memoryUsage().rss - young!.physical_space_size
}

import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files that take tens of seconds, longest first: last, one of them would keep a single worker busy at the end. */
const LONG = [
  'model/leveled',
  'crash/crash',
  'model/tiered',
  'adapter/level',
  'replication/processes',
  'feed/consumer-crash',
  'kill/',
  'metamorphic',
  'damage-',
  'simulation-',
  'proof/kill',
  'crash-states',
]

/** The order of files: the long ones, then the others as Vitest has them. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.sort((a, b) => placeOf(a) - placeOf(b))
  }
}

function placeOf({ moduleId }: TestSpecification): number {
  const place = LONG.findIndex(
    (part) => moduleId.includes(`/test/${part}`) || moduleId.includes(`/test/proof/${part}`),
  )
  return place < 0 ? LONG.length : place
}

/** The whole store through its public API: `npm run bench`. For the comparison with others see peers/. */
import { parseArgs } from 'node:util'
import { makeDirectory, removeDirectory } from './directory.js'
import { open } from './peers/drivers/varve.js'
import { ROWS } from './peers/rows.js'
import { runWorkload } from './peers/workload.js'

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '500000' },
    'value-bytes': { type: 'string', default: '100' },
    memory: { type: 'string', default: '256' },
  },
})
const dir = makeDirectory('store')
const options = {
  dir,
  entries: Number(values.entries),
  valueBytes: Number(values['value-bytes']),
  budgetMs: 1000,
}
const titles = new Map(ROWS.map(({ id, title }) => [id, title]))

function show(row, figure) {
  const text = row === 'disk' || row === 'rss' ? `${(figure / 1e6).toFixed(1)} MB` : `${rate(figure)}/s`
  console.log(`${titles.get(row).padEnd(40)} ${text.padStart(14)}`)
}

function rate(figure) {
  return Math.round(figure).toLocaleString('en-US')
}

try {
  await runWorkload(() => open(dir, { memory: Number(values.memory) * 2 ** 20 }), options, show)
} finally {
  removeDirectory(dir)
}

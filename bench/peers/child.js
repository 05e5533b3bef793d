/** One engine, one round: started by run.js, which gives the directory and collects the figures. */
import { runWorkload } from './workload.js'

const options = JSON.parse(process.argv[2])
const driver = await import(`./drivers/${options.engine}.js`)

async function openEngine() {
  const engine = await driver.open(options.dir, { memory: options.memory })
  process.send({ version: engine.version })
  return engine
}

await runWorkload(openEngine, options, (row, figure) => process.send({ row, figure }))
// An engine's idle thread or timer must not hold up the next round.
process.send({ done: true }, () => process.exit(0))

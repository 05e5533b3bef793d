#!/usr/bin/env node
import { exitStatusOf } from './failure.js'
import { checkHelpTopic } from './help.js'
import { endOnBrokenOutput } from './output.js'
import { buildProgram } from './program.js'

endOnBrokenOutput()
try {
  const program = buildProgram()
  checkHelpTopic(program, process.argv.slice(2))
  await program.parseAsync(process.argv)
} catch (error) {
  process.exitCode = exitStatusOf(error)
}

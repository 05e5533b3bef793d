import { itMatchesTheModel } from './run-histories.js'

itMatchesTheModel('tiered', 400)

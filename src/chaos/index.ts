/** The door `holdfast/chaos`: faults to test with, for calls and for connections. */
export {
  CALL_FAULT_PLANS_MAX,
  CallFaultLayer,
  type CallFaultPlan,
  type CallOrdeal,
  isPeerMeant,
} from "./call-fault.ts";
export { CallFaultLimit } from "./call-fault-limit.ts";
export { cutAt, flippedAt } from "./damage.ts";
export {
  createFaultProxy,
  type FaultProxy,
  type FaultProxyConnection,
  type FaultProxyCounts,
  type FaultProxyOptions,
  type FaultProxyPlace,
} from "./proxy.ts";
export { PROXY_FAULTS_MAX, type ProxyDirection, type ProxyFault } from "./proxy-fault.ts";

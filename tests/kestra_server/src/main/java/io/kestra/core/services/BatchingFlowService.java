package io.kestra.core.services;

import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.FlowWithSource;
import io.kestra.core.models.flows.Input;
import io.kestra.core.models.flows.input.MultiselectInput;
import io.kestra.core.models.flows.input.SelectInput;
import io.kestra.core.models.tasks.ExecutableTask;
import io.kestra.core.repositories.FlowTopologyRepositoryInterface;
import io.kestra.core.topologies.FlowTopologyService;
import io.kestra.core.utils.ExecutorsUtils;
import io.kestra.core.utils.ListUtils;
import io.micronaut.context.annotation.Replaces;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

import jakarta.inject.Singleton;
import lombok.extern.slf4j.Slf4j;

/**
 * The engine's flow service, with the graph of dependencies computed for all flows that were written meanwhile at once.
 * The engine computes it after each write, from the sources of all flows: the more flows, the longer every write keeps
 * the machine busy, which the tests with thousands of flows would spend their time on. It stands in this package for
 * the sake of the one method that it replaces.
 */
@Slf4j
@Singleton
@Replaces(FlowService.class)
class BatchingFlowService extends FlowService {
    private static final int QUIET_MILLISECONDS = 500;

    private final FlowTopologyService topologyService;
    private final FlowTopologyRepositoryInterface topologyRepository;
    private final Map<String, FlowWithSource> waiting = new HashMap<>();
    private boolean working;

    BatchingFlowService(ExecutorsUtils executors, FlowTopologyService topologyService, FlowTopologyRepositoryInterface topologyRepository) {
        super(executors);
        this.topologyService = topologyService;
        this.topologyRepository = topologyRepository;
    }

    /** Called on a thread of its own; the first that comes does the work of all. */
    @Override
    void updateTopology(FlowWithSource flow) {
        synchronized (waiting) {
            waiting.put(flow.uidWithoutRevision(), flow);
            if (working) {
                return;
            }
            working = true;
        }
        try {
            awaitQuiet();
            update();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException e) {
            log.error("Unable to update the flow topology", e);
        }
    }

    private void awaitQuiet() throws InterruptedException {
        int before;
        do {
            before = count();
            Thread.sleep(QUIET_MILLISECONDS);
        } while (count() != before);
    }

    private int count() {
        synchronized (waiting) {
            return waiting.size();
        }
    }

    private void update() {
        Map<String, FlowWithSource> flows;
        synchronized (waiting) {
            flows = Map.copyOf(waiting);
            waiting.clear();
            // A write from now on is not in the snapshot below, or not surely.
            working = false;
        }
        Map<String, FlowWithSource> all = new HashMap<>();
        flowRepository.findAllWithSourceWithNoAcl(flows.values().iterator().next().getTenantId()).stream()
            .filter(flow -> !flow.isDeleted())
            .forEach(flow -> all.put(flow.uidWithoutRevision(), flow));
        List<FlowWithSource> everyone = List.copyOf(all.values());
        List<FlowWithSource> referring = everyone.stream().filter(BatchingFlowService::mayRefer).toList();
        flows.forEach((uid, flow) -> {
            FlowWithSource current = all.get(uid);
            if (current == null) {
                topologyRepository.save(flow, List.of());
            } else {
                topologyRepository.save(flow, topologyService.topology(current, mayRefer(current) ? everyone : referring).distinct().toList());
            }
        });
    }

    /** Two flows depend on each other only where one of them names the other in one of these ways. */
    private static boolean mayRefer(Flow flow) {
        return flow.allTasksWithChilds().stream().anyMatch(ExecutableTask.class::isInstance)
            || ListUtils.emptyOnNull(flow.getTriggers()).stream().anyMatch(io.kestra.plugin.core.trigger.Flow.class::isInstance)
            || ListUtils.emptyOnNull(flow.getInputs()).stream().anyMatch(BatchingFlowService::isComputed);
    }

    /** Such an input may call a flow as a function. */
    private static boolean isComputed(Input<?> input) {
        return input instanceof SelectInput select && select.getExpression() != null
            || input instanceof MultiselectInput multiselect && multiselect.getExpression() != null;
    }
}

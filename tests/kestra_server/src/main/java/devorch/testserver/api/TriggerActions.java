package devorch.testserver.api;

import io.kestra.core.async.AsyncOperationProcessedEvent;
import io.kestra.core.async.AsyncOperationsConfiguration;
import io.kestra.core.exceptions.ConflictException;
import io.kestra.core.models.executions.ExecutionKilled;
import io.kestra.core.models.executions.ExecutionKilledTrigger;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.triggers.AbstractTrigger;
import io.kestra.core.models.triggers.TriggerId;
import io.kestra.core.queues.BroadcastQueueInterface;
import io.kestra.core.queues.QueueException;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.repositories.TriggerRepositoryInterface;
import io.kestra.core.scheduler.events.CreateBackfillTrigger;
import io.kestra.core.scheduler.events.DeleteBackfillTrigger;
import io.kestra.core.scheduler.events.ResetTrigger;
import io.kestra.core.scheduler.events.SetDisableTrigger;
import io.kestra.core.scheduler.events.SetPauseBackfillTrigger;
import io.kestra.core.scheduler.events.TriggerDeleted;
import io.kestra.core.scheduler.model.TriggerState;
import io.kestra.core.scheduler.queue.TriggerEventQueue;
import io.kestra.core.services.AsyncOperationWaiter;
import io.kestra.core.utils.ListUtils;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.exceptions.HttpStatusException;

import java.time.Duration;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

import jakarta.inject.Singleton;

/**
 * What can be done with a trigger, by the scheduler's own events. Each is sent, and answered with the trigger's state
 * when the scheduler has acknowledged it, as in Kestra's web server.
 */
@Singleton
class TriggerActions {
    private final TriggerRepositoryInterface triggers;
    private final FlowRepositoryInterface flows;
    private final TriggerEventQueue events;
    private final BroadcastQueueInterface<ExecutionKilled> kills;
    private final AsyncOperationWaiter waiter;
    private final Duration longest;

    TriggerActions(
        TriggerRepositoryInterface triggers,
        FlowRepositoryInterface flows,
        TriggerEventQueue events,
        BroadcastQueueInterface<ExecutionKilled> kills,
        AsyncOperationWaiter waiter,
        AsyncOperationsConfiguration configuration
    ) {
        this.triggers = triggers;
        this.flows = flows;
        this.events = events;
        this.kills = kills;
        this.waiter = waiter;
        this.longest = configuration.waitTimeout();
    }

    static TriggerId id(String namespace, String flowId, String triggerId) {
        return TriggerId.of(Tenant.MAIN, namespace, flowId, triggerId);
    }

    TriggerState find(TriggerId id) {
        return triggers.findById(id).orElseThrow(() -> new NoSuchElementException("Trigger " + id + " not found"));
    }

    /** The trigger as its flow defines it. */
    Optional<AbstractTrigger> definition(TriggerId id) {
        return flows.findById(Tenant.MAIN, id.getNamespace(), id.getFlowId())
            .map(Flow::getTriggers)
            .flatMap(candidates -> ListUtils.emptyOnNull(candidates).stream().filter(trigger -> trigger.getId().equals(id.getTriggerId())).findFirst());
    }

    TriggerState unlock(TriggerId id) {
        if (!find(id).isLocked()) {
            throw new ConflictException("trigger " + id + " is already unlocked");
        }
        return send(id, "Unlock", operation -> events.send(new ResetTrigger(id).withOperationId(operation)));
    }

    TriggerState restart(TriggerId id) throws QueueException {
        find(id);
        kills.emit(
            ExecutionKilledTrigger.builder()
                .state(ExecutionKilled.State.EXECUTED)
                .tenantId(id.getTenantId())
                .namespace(id.getNamespace())
                .flowId(id.getFlowId())
                .triggerId(id.getTriggerId())
                .build()
        );
        return send(id, "Restart", operation -> events.send(new ResetTrigger(id).withOperationId(operation)));
    }

    /** Without a row of the scheduler the event is lost, and nothing is answered but that the trigger is not there. */
    TriggerState setDisabled(TriggerId id, boolean disabled) {
        if (definition(id).isEmpty()) {
            throw new NoSuchElementException("Trigger not found: " + id);
        }
        return send(id, "Set disabled", operation -> events.send(new SetDisableTrigger(id, disabled).withOperationId(operation)));
    }

    TriggerState createBackfill(TriggerId id, CreateBackfillTrigger.Backfill backfill) {
        find(id);
        return send(id, "Create backfill", operation -> events.send(new CreateBackfillTrigger(id, backfill).withOperationId(operation)));
    }

    TriggerState setBackfillPaused(TriggerId id, boolean paused) {
        find(id);
        String name = paused ? "Pause backfill" : "Unpause backfill";
        return send(id, name, operation -> events.send(new SetPauseBackfillTrigger(id, paused).withOperationId(operation)));
    }

    TriggerState deleteBackfill(TriggerId id) {
        find(id);
        return send(id, "Delete backfill", operation -> events.send(new DeleteBackfillTrigger(id).withOperationId(operation)));
    }

    void delete(TriggerId id) {
        find(id);
        await(id, "Delete", operation -> events.send(new TriggerDeleted(id).withOperationId(operation)));
    }

    private TriggerState send(TriggerId id, String name, Consumer<String> sender) {
        await(id, name, sender);
        return find(id);
    }

    private void await(TriggerId id, String name, Consumer<String> sender) {
        try {
            AsyncOperationProcessedEvent event = waiter.submitAndWait(id.uid(), sender, longest);
            if (event.outcome() == AsyncOperationProcessedEvent.Outcome.FAILED) {
                throw new ConflictException(name + " failed: " + event.error());
            }
        } catch (TimeoutException e) {
            throw new HttpStatusException(HttpStatus.GATEWAY_TIMEOUT, "Operation timed out waiting for state transition");
        }
    }
}

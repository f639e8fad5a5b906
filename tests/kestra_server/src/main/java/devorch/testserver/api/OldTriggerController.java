package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.exceptions.ConflictException;
import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.flows.State.Type;
import io.kestra.core.models.triggers.AbstractTrigger;
import io.kestra.core.models.triggers.Backfill;
import io.kestra.core.models.triggers.RealtimeTriggerInterface;
import io.kestra.core.models.triggers.TriggerId;
import io.kestra.core.queues.QueueException;
import io.kestra.core.repositories.ArrayListTotal;
import io.kestra.core.repositories.TriggerRepositoryInterface;
import io.kestra.core.scheduler.events.CreateBackfillTrigger;
import io.kestra.core.scheduler.model.TriggerState;
import io.micronaut.context.annotation.Requires;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.Put;
import io.micronaut.http.exceptions.HttpStatusException;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.time.Instant;
import java.util.List;

/**
 * The triggers in the form of 1.3 (its {@code TriggerController}): one object holds the state, and is sent back whole to
 * be disabled or to begin a backfill.
 */
@Requires(property = Dialect.PROPERTY, value = "1.3")
@Controller("/api/v1/" + Tenant.MAIN + "/triggers")
@ExecuteOn(TaskExecutors.IO)
class OldTriggerController {
    private final TriggerRepositoryInterface triggers;
    private final TriggerActions actions;

    OldTriggerController(TriggerRepositoryInterface triggers, TriggerActions actions) {
        this.triggers = triggers;
        this.actions = actions;
    }

    /** A trigger as its flow defines it, and what the scheduler made of it. */
    @Introspected
    record Entry(AbstractTrigger abstractTrigger, Trigger triggerContext) {
    }

    /** The state of a trigger. It is locked while it has an execution, or is being evaluated. */
    @Introspected
    record Trigger(
        String namespace,
        String flowId,
        String triggerId,
        Instant date,
        Instant nextExecutionDate,
        Backfill backfill,
        List<Type> stopAfter,
        Boolean disabled,
        String executionId,
        Instant updatedDate,
        Instant evaluateRunningDate,
        String workerId
    ) {
        static Trigger of(TriggerState state) {
            return new Trigger(
                state.getNamespace(), state.getFlowId(), state.getTriggerId(), state.getLastTriggeredDate(), state.getNextEvaluationDate(),
                state.getBackfill(), state.getStopAfter(), state.isDisabled(), state.getExecutionId(), state.getUpdatedAt(),
                state.isLocked() && state.getExecutionId() == null ? state.getEvaluatedAt() : null, state.getWorkerId()
            );
        }

        TriggerId id() {
            return TriggerActions.id(namespace, flowId, triggerId);
        }
    }

    @Get("/search")
    Results<Entry> search(HttpRequest<?> request) {
        ArrayListTotal<TriggerState> page = triggers.find(
            Search.page(request, triggers.sortMapping()::apply), Tenant.MAIN, Search.filters(request, QueryFilter.Resource.TRIGGER)
        );
        return new Results<>(
            page.stream().map(state -> new Entry(actions.definition(state).orElse(null), Trigger.of(state))).toList(), page.getTotal()
        );
    }

    @Get("/{namespace}/{flowId}")
    Results<Trigger> ofFlow(HttpRequest<?> request, String namespace, String flowId) {
        String query = request.getParameters().get("q");
        ArrayListTotal<TriggerState> page = triggers.find(
            Search.page(request, triggers.sortMapping()::apply), query, Tenant.MAIN, namespace, flowId, null
        );
        return new Results<>(page.stream().map(Trigger::of).toList(), page.getTotal());
    }

    /** A trigger with a backfill begins it, and its {@code disabled} is not looked at; one without is only switched. */
    @Put
    Trigger update(@Body Trigger trigger) {
        TriggerId id = trigger.id();
        AbstractTrigger definition = actions.definition(id).orElseThrow(
            () -> new HttpStatusException(HttpStatus.NOT_FOUND, "Flow " + trigger.flowId() + " has no trigger " + trigger.triggerId())
        );
        if (definition instanceof RealtimeTriggerInterface) {
            throw new IllegalArgumentException("Realtime triggers can not be updated through the API, please edit the trigger from the flow.");
        }
        Backfill backfill = trigger.backfill();
        if (backfill == null) {
            return Trigger.of(actions.setDisabled(id, Boolean.TRUE.equals(trigger.disabled())));
        }
        try {
            return Trigger.of(
                actions.createBackfill(
                    id, new CreateBackfillTrigger.Backfill(backfill.getStart(), backfill.getEnd(), backfill.getInputs(), backfill.getLabels())
                )
            );
        } catch (ConflictException e) {
            throw new HttpStatusException(HttpStatus.BAD_REQUEST, e.getMessage());
        }
    }

    @Post("/{namespace}/{flowId}/{triggerId}/unlock")
    @Consumes(MediaType.ALL)
    Trigger unlock(String namespace, String flowId, String triggerId) {
        return Trigger.of(actions.unlock(TriggerActions.id(namespace, flowId, triggerId)));
    }

    @Post("/{namespace}/{flowId}/{triggerId}/restart")
    @Consumes(MediaType.ALL)
    Trigger restart(String namespace, String flowId, String triggerId) throws QueueException {
        return Trigger.of(actions.restart(TriggerActions.id(namespace, flowId, triggerId)));
    }

    @Put("/backfill/pause")
    Trigger pauseBackfill(@Body Trigger trigger) {
        return Trigger.of(actions.setBackfillPaused(trigger.id(), true));
    }

    @Put("/backfill/unpause")
    Trigger unpauseBackfill(@Body Trigger trigger) {
        return Trigger.of(actions.setBackfillPaused(trigger.id(), false));
    }

    @Post("/backfill/delete")
    Trigger deleteBackfill(@Body Trigger trigger) {
        if (actions.find(trigger.id()).getBackfill() == null) {
            throw new HttpStatusException(HttpStatus.BAD_REQUEST, "No backfill found");
        }
        return Trigger.of(actions.deleteBackfill(trigger.id()));
    }

    @Delete("/{namespace}/{flowId}/{triggerId}")
    @Consumes(MediaType.ALL)
    HttpResponse<?> delete(String namespace, String flowId, String triggerId) {
        actions.delete(TriggerActions.id(namespace, flowId, triggerId));
        return HttpResponse.noContent();
    }
}

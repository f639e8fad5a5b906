package devorch.testserver.api;

import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.triggers.AbstractTrigger;
import io.kestra.core.models.triggers.Backfill;
import io.kestra.core.repositories.ArrayListTotal;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.repositories.TriggerRepositoryInterface;
import io.kestra.core.scheduler.model.TriggerState;
import io.kestra.core.utils.ListUtils;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.time.Instant;

/** The triggers the scheduler knows: not those of type Webhook (observed), in the form of Kestra 2.0. */
@Controller("/api/v1/" + Tenant.MAIN + "/triggers")
@ExecuteOn(TaskExecutors.IO)
class TriggerController {
    private final TriggerRepositoryInterface triggers;
    private final FlowRepositoryInterface flows;

    TriggerController(TriggerRepositoryInterface triggers, FlowRepositoryInterface flows) {
        this.triggers = triggers;
        this.flows = flows;
    }

    /** A trigger as its flow defines it, and what the scheduler made of it. */
    @Introspected
    record Entry(AbstractTrigger trigger, State state) {
    }

    /** The scheduler's view of a trigger. */
    @Introspected
    record State(
        String namespace,
        String flowId,
        String triggerId,
        boolean disabled,
        boolean locked,
        Instant nextEvaluationDate,
        Instant lastTriggeredDate,
        Backfill backfill,
        String executionId
    ) {
        static State of(TriggerState state) {
            return new State(
                state.getNamespace(), state.getFlowId(), state.getTriggerId(), state.isDisabled(), state.isLocked(),
                state.getNextEvaluationDate(), state.getLastTriggeredDate(), state.getBackfill(), state.getExecutionId()
            );
        }
    }

    @Get("/search")
    Results<Entry> search(HttpRequest<?> request) {
        ArrayListTotal<TriggerState> page = triggers.find(
            Search.page(request, triggers.sortMapping()::apply), Tenant.MAIN, Search.filters(request, QueryFilter.Resource.TRIGGER)
        );
        return new Results<>(page.stream().map(state -> new Entry(definition(state), State.of(state))).toList(), page.getTotal());
    }

    private AbstractTrigger definition(TriggerState state) {
        return flows.findById(Tenant.MAIN, state.getNamespace(), state.getFlowId())
            .map(Flow::getTriggers)
            .flatMap(candidates -> ListUtils.emptyOnNull(candidates).stream().filter(trigger -> trigger.getId().equals(state.getTriggerId())).findFirst())
            .orElse(null);
    }
}

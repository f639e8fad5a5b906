package devorch.testserver;

import io.micronaut.context.annotation.Requires;
import io.micronaut.context.event.BeanCreatedEvent;
import io.micronaut.context.event.BeanCreatedEventListener;
import io.micronaut.management.endpoint.health.DetailsVisibility;
import io.micronaut.management.endpoint.health.HealthEndpoint;

import jakarta.inject.Singleton;

/** Before 2.0 the management port shows everybody which part of the server is well and which is not. */
@Singleton
@Requires(property = Dialect.PROPERTY, value = "1.3")
class OldHealth implements BeanCreatedEventListener<HealthEndpoint> {
    @Override
    public HealthEndpoint onCreated(BeanCreatedEvent<HealthEndpoint> event) {
        HealthEndpoint health = event.getBean();
        health.setDetailsVisible(DetailsVisibility.ANONYMOUS);
        return health;
    }
}
